#!/bin/sh
# Builds the test guests into target/guests-test/*.wasm, with the Python and JavaScript tools they need. A guest whose
# sources and contract are older than its component is not built again.
set -eu
cd "$(dirname "$0")/../.."
out=target/guests-test
mkdir -p "$out"

cargo build --profile guest --target wasm32-wasip2 --target-dir target/guests \
    --package guest-hostile --package guest-hostile-operator --package guest-loop-rust
for guest in hostile hostile_operator loop_rust; do
    cp "target/guests/wasm32-wasip2/guest/guest_$guest.wasm" "$out/$(echo "$guest" | tr _ -).wasm"
done

# true if the component is missing or older than its folder or the contract
stale() {
    [ ! -e "$out/$1.wasm" ] || [ -n "$(find "tests/guests/$1" wit -type f -newer "$out/$1.wasm" -not -name '*.pyc')" ]
}

if stale loop-python; then
    [ -x "$out/venv/bin/componentize-py" ] || {
        python3 -m venv "$out/venv"
        "$out/venv/bin/pip" --quiet --disable-pip-version-check install componentize-py==0.25.0
    }
    "$out/venv/bin/componentize-py" -d wit -w campaign componentize --stub-wasi \
        -p tests/guests/loop-python app -o "$out/loop-python.wasm"
fi

if stale loop-javascript; then
    [ -x "$out/node_modules/.bin/componentize-qjs" ] ||
        npm install --silent --no-fund --no-audit --prefix "$out" componentize-qjs@0.4.5
    "$out/node_modules/.bin/componentize-qjs" --sync --stub-wasi -w wit -n campaign \
        -j tests/guests/loop-javascript/app.js -o "$out/loop-javascript.wasm"
fi
