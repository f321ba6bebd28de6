#!/usr/bin/env bash
# The real-Krita tests on Debian trixie's Krita (5.2.9, Python 3.13), in a chroot that is made at the
# first call (1.3 GB, a few minutes; needs root and mmdebstrap):
#
#     tests/krita/trixie.sh [arguments for pytest, such as tests/krita/test_overlay.py]
#
# Krita, the screen and xdotool are trixie's; the server and pytest run on this machine's own Python
# and .venv, bound into the chroot at their usual places. VELATURA_TRIXIE says where the chroot is.
set -euo pipefail

[ "$(id -u)" = 0 ] || exec sudo --preserve-env=VELATURA_TRIXIE "$0" "$@"
repository=$(cd "$(dirname "$0")/../.." && pwd)
root=${VELATURA_TRIXIE:-/var/tmp/velatura-trixie}
python=$repository/.venv/bin/python
[ -x "$python" ] || { echo "Run \`make lint\` once: it sets up .venv." >&2; exit 1; }

if [ ! -x "$root/usr/bin/krita" ]; then
    command -v mmdebstrap >/dev/null || { echo "This needs mmdebstrap: apt-get install mmdebstrap" >&2; exit 1; }
    packages=krita,xvfb,xauth,xdotool,imagemagick,python3-pyqt5,fonts-dejavu-core
    mmdebstrap --variant=apt --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        trixie "$root"
fi

# What this machine's Python needs and trixie lacks, each where it was.
mapfile -t places < <("$python" - "$repository" <<'PYTHON'
import os, sys, sysconfig
from pathlib import Path

repository = Path(sys.argv[1])
wanted = {Path(os.path.realpath(sys.executable)), *map(Path, filter(None, sys.path))}
wanted |= {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
if sys.base_prefix != "/usr":
    wanted.add(Path(sys.base_prefix))
for place in sorted(wanted):
    inside = [other for other in (repository, *wanted) if other != place and other in place.parents]
    if place.exists() and not inside:
        print(place)
PYTHON
)

if [ $# -eq 0 ]; then set -- tests/krita; fi
export root repository python
# The binds live in a mount namespace of their own, and end with it.
exec unshare --mount --propagation private bash -euo pipefail -c '
    arguments=()
    while [ "$1" != -- ]; do
        if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; touch "$root$1"; fi
        mount --rbind "$1" "$root$1"
        shift
    done
    shift
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" VELATURA_REQUIRE_KRITA=1 \
        sh -c "cd \"\$0\" && exec \"\$@\"" "$repository" "$python" -m pytest "$@"
' trixie /proc /dev "$repository" "${places[@]}" -- "$@"
