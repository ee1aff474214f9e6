# The first process of the machine: an overlay of the host's files, file systems of its own, and systemd. $1: the folder to
# build in. $3: the binary that is /usr/sbin/qosbpf there.
root=$1/root
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$root"

# Settings of the kernel that are not the network namespace's are the host's: nobody writes them, and no udev starts.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t proc proc "$1/cgroup"
mount --bind "$1/cgroup/sys/net" "$root/proc/sys/net"
umount "$1/cgroup"
mount -t sysfs sysfs "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# As systemd mounts it where it is the first process of a host.
mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf "$root/sys/fs/bpf"

for folder in dev run tmp etc/systemd; do
    mount -t tmpfs -o mode=0755 own "$root/$folder"
done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    cp -a "/dev/$device" "$root/dev/"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

# Nothing that the host has of its own starts here, and nothing that takes long.
: > "$root/etc/fstab"
: > "$root/etc/machine-id"
mkdir -p "$root/etc/systemd/system" "$root/etc/qosbpf"
for unit in systemd-sysctl systemd-modules-load systemd-hwdb-update systemd-journal-catalog-update ldconfig \
    modprobe@configfs modprobe@dm_mod modprobe@drm modprobe@fuse modprobe@loop; do
    ln -s /dev/null "$root/etc/systemd/system/$unit.service"
done
cat > "$root/etc/systemd/system/machine.target" <<'END'
[Unit]
Requires=systemd-journald.service sysinit.target
After=systemd-journald.service sysinit.target
END

printf '%s\n' netops:x:64000:alice alice:x:64001: bob:x:64002: >> "$root/etc/group"
echo 'alice:x:64001:64001::/:/bin/sh' >> "$root/etc/passwd"
echo 'bob:x:64002:64002::/:/bin/sh' >> "$root/etc/passwd"

: > "$root/usr/sbin/qosbpf"
mount --bind "$3" "$root/usr/sbin/qosbpf"

mkdir "$root/host"
cd "$root"
pivot_root . host
exec chroot . sh -euc '
    umount -l /host
    rmdir /host
    exec env -i container=qosbpf-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=machine.target --log-target=journal --show-status=no'
