# Runs in a container whose image has no python3 on PATH: the machine, the C library, the user, and interpreters elsewhere.
# Read from standard input. For the smallest shells: no arrays, no local, no command but uname and id, and these only if
# they are there.
machine=$(uname -m 2>/dev/null)
user=$(id -u 2>/dev/null)
libc=
for loader in /lib/ld-musl-*.so.1; do
  [ -e "$loader" ] && libc=musl
done
for loader in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* /lib/*/ld-linux-*.so.* /usr/lib/*/ld-linux-*.so.*; do
  [ -e "$loader" ] && libc=glibc
done
echo
echo "clearml-probe:machine=$machine"
echo "clearml-probe:libc=$libc"
echo "clearml-probe:uid=$user"
for place in "${VIRTUAL_ENV:-/nowhere}"/bin "${CONDA_PREFIX:-/nowhere}"/bin /usr/local/bin /usr/bin /bin /opt/*/bin \
  /root/*conda*/bin /home/*/*conda*/bin /venv/bin /app/.venv/bin /usr/libexec /databricks/python/bin; do
  for file in "$place"/python3 "$place"/python3.*[0-9] "$place"/python "$place"/platform-python; do
    [ -x "$file" ] && echo "clearml-probe:python=$file"
  done
done
exit 0
