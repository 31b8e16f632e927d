# A Python that every account can run: the host's may lie below /root, where nobody else can go, and
# an image needs a copy of the same version anyway.
python_id() { "$HTCDASK_POOL_PYTHON" -c 'import sys; print(sys.base_prefix, "%d.%d.%d" % sys.version_info[:3])'; }
python_home=$HTCDASK_POOL_BUILD/python-none
venv=$HTCDASK_POOL_BUILD/python-none
name_python() {
  command -v "$HTCDASK_POOL_PYTHON" >/dev/null || install_packages python3 python3-venv
  # Debian's Python comes without what makes virtual environments
  "$HTCDASK_POOL_PYTHON" -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  python_home=$HTCDASK_POOL_BUILD/python-$(recipe_hash build_python.sh "$(python_id)")
  venv=$HTCDASK_POOL_BUILD/image-env-$(recipe_hash build_python.sh "$python_home" "$HTCDASK_POOL_PACKAGES")
}

build_python() { name_python; build_once "$python_home" make_python; }

make_python() {
  local start source version; start=$(now)
  read -r source version < <(python_id)
  version=${version%.*}
  need patchelf
  mkdir -p "$1"
  (cd "$source" && tar -cf - --exclude=__pycache__ --exclude="lib/python$version/site-packages" \
     --exclude="lib/python$version/dist-packages" --exclude="lib/python$version/EXTERNALLY-MANAGED" \
     --exclude="lib/python$version/test" --exclude="lib/python$version/config-*" \
     "bin/python$version" "lib/python$version" $(ls -d lib/libpython* 2>/dev/null)) | tar -C "$1" -xf -
  mkdir -p "$1/lib/python$version/site-packages"
  # Relocatable: libpython is looked for beside the program, not where it was built.
  patchelf --set-rpath '$ORIGIN/../lib' "$1/bin/python$version"
  ln -s "python$version" "$1/bin/python3"; ln -s python3 "$1/bin/python"
  # Byte-compiled now: ordinary users cannot write here. The library holds files that are wrong on purpose.
  nice "$1/bin/python3" -m compileall -q -j 0 -s "$1" -p "$python_home" "$1/lib" >"$(build_log compileall)" 2>&1 || true
  "$1/bin/python3" -c 'import ensurepip, ssl, sqlite3, ctypes'
  echo "python: $(since "$start"), $("$1/bin/python3" -V)"
}

# A virtual environment of it with what a worker image needs. It cannot be moved, so a file says that
# it is complete.
build_image_env() {
  build_python
  [ ! -e "$venv/.complete" ] || return 0
  rm -rf --one-file-system "$venv"
  "$python_home/bin/python3" -m venv "$venv"
  nice "$venv/bin/pip" install -q $HTCDASK_POOL_PACKAGES >"$(build_log pip)" 2>&1 || { tail -n 20 "$(build_log pip)" >&2; die "pip failed"; }
  # Each start of a worker would compile all it imports (PYTHONDONTWRITEBYTECODE has the same effect).
  nice "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >"$(build_log compileall)" 2>&1 || true
  touch "$venv/.complete"
}
