# Removes the cgroup that an ended machine had, and those that killed tests have left. $1: a folder to mount in. $2: the
# cgroup's name. $3: what all their names begin with.
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$1"
# It is empty when the last process is gone, a moment after the first one.
for _ in $(seq 500); do
    grep -q 'populated 0' "$1/$2/cgroup.events" && break
    sleep 0.01
done
# What is still in use is somebody else's, and stays.
find "$1" -mindepth 1 -depth -type d -path "$1/$3*" -exec rmdir {} + 2> /dev/null || :
test ! -e "$1/$2"
