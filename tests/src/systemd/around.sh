# Makes what a systemd of its own stands in: mounts that nobody else sees, a cgroup, and then a PID namespace, of which
# within.sh is the first process. $1: a folder to build in. $2: the cgroup's name.
mount --make-rprivate /
mount -t tmpfs -o mode=0755 machine "$1"
mkdir "$1/upper" "$1/work" "$1/root" "$1/cgroup"
mount -t cgroup2 cgroup2 "$1/cgroup"
mkdir "$1/cgroup/$2"
echo $$ > "$1/cgroup/$2/cgroup.procs"
exec unshare --cgroup --pid --fork --kill-child sh -euc "$WITHIN" sh "$@"
