# Removes the cgroup that an ended machine had, and those that killed tests have left. $1: a folder to mount in. $2: the
# cgroup's name. $3: what all their names begin with.
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$1"
# It is empty when the last process is gone, a moment after the first one.
for _ in $(seq 500); do
    grep -q 'populated 0' "$1/$2/cgroup.events" && break
    sleep 0.01
done
# Others that a process is named for have a machine of their own, of which a cgroup may be empty for a moment.
for left in "$1/$3"*; do
    process=${left#"$1/$3"}
    if [ "$left" = "$1/$2" ] || [ ! -e "/proc/${process%%-*}" ]; then
        find "$left" -depth -type d -exec rmdir {} + 2> /dev/null || :
    fi
done
test ! -e "$1/$2"
