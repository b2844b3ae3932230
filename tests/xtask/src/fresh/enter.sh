# Goes into a fresh tree for good, in namespaces of its own, and gives a command there. Called through `unshare`.
#   enter.sh TREE COMMAND [PLACE TARGET]…    each PLACE of this machine is seen at TARGET in the tree, read-only
set -eu
tree=$1 command=$2
shift 2
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
for own in dev sys; do
  mount --rbind "/$own" "$tree/$own"
  mount --make-rslave "$tree/$own"
done
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
while [ $# -gt 1 ]; do
  mkdir -p "$tree$(dirname "$2")"
  if [ -d "$1" ]; then mkdir -p "$tree$2"; else [ -e "$tree$2" ] || : > "$tree$2"; fi
  mount --bind "$1" "$tree$2"
  mount -o remount,bind,ro "$tree$2"
  shift 2
done
echo fresh > /proc/sys/kernel/hostname
cd "$tree"
mkdir -p .machine
# not chroot: what is tried there makes user namespaces, which a kernel grants to nobody in a chroot
pivot_root . .machine
cd /
umount -l /.machine
exec /bin/bash -c "$command"
