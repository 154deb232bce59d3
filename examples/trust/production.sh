#!/usr/bin/env bash
# Trust by several people, from the first key to a thief who gets nothing. See README.md beside this file.
#
#     bash examples/trust/production.sh [FOLDER]
#
# Everybody has a folder that stands for their machine: FOLDER/alice, .../bob, .../reconciler, .../device-001 and so on.
# Needs fwctl, fwctl-agent and git. Speaks to 127.0.0.0/8 only, and stops what it started.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${1:-$(mktemp -d "${TMPDIR:-/tmp}/fwctl-trust.XXXXXX")}
mkdir -p "$work" && work=$(cd "$work" && pwd)
[ -z "$(ls -A "$work")" ] || { echo "$work is not empty" >&2 && exit 2; }
python=$(dirname "$(readlink -f "$(command -v fwctl)")")/python # the one that fwctl is installed in
people="alice bob carol dave erin"
devices="device-001 device-002"

# Nothing of whoever runs this gets in.
for name in $(compgen -e | grep -E '^(FWCTL_|GIT_)' || true); do unset "$name"; done
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 NO_COLOR=1 COLUMNS=120

# ---- the stage -------------------------------------------------------------------------------------------------------

declare -A agents=() address=()
stop_all() {
  for pid in "${agents[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
}
trap stop_all EXIT

chapter() { printf '\n== %s\n' "$*"; }
story() { printf '\n%s\n' "$*"; }

summary=()
holds() { # holds WHAT COMMAND...: a claim of the summary; the first that fails ends the script
  local what=$1
  shift
  if "$@" >>"$work/checks.log" 2>&1; then
    summary+=("ok  $what") && printf '  [ok] %s\n' "$what"
  else
    printf '  [NOT SO] %s\n     %s\n' "$what" "$*" >&2 && exit 1
  fi
}

on() { # on MACHINE COMMAND...: run it there, as that person
  local who=$1 place=$work/$1
  shift
  [ ! -d "$place/fleet" ] || place=$place/fleet
  (
    cd "$place"
    export HOME=$work/$who FWCTL_CONFIG_DIR=$work/$who/config FWCTL_STATE_DIR=$work/$who/state
    export GIT_AUTHOR_NAME=$who GIT_AUTHOR_EMAIL=$who@example.org
    export GIT_COMMITTER_NAME=$who GIT_COMMITTER_EMAIL=$who@example.org
    [ ! -f "$work/$who/passphrase" ] || export FWCTL_PASSPHRASE_FILE=$work/$who/passphrase
    "$@"
  )
}

code=0
try() { # try MACHINE COMMAND...: show it and what it says; `code` and last.log keep how it ended
  printf '%s$ %s\n' "$1" "${*:2}" && code=0
  on "$@" >"$work/last.log" 2>&1 </dev/null || code=$?
  sed -n "${only:-p}" "$work/last.log" | sed 's/^/    /'
}

run() { # the same, and it must end well
  try "$@"
  [ "$code" = 0 ] || { echo "that ended with $code" >&2 && exit 1; }
}

pull() { on "$1" git pull --quiet --rebase; }
push() { on "$1" git push --quiet; }
change() { pull "$1" && run "$@" && push "$1"; }     # a command that commits, on the newest state
commit() { on "$1" git add -A && on "$1" git commit --quiet -m "$2" && push "$1"; }
approve() { only='/^Approved/,$p' change "$1" fwctl approve sensors --yes; } # the plan that it shows was seen once
a_pass() { pull reconciler && try reconciler fwctl reconcile --once "$@"; }

field() { # field PATH: one value of the JSON on standard input, such as running.version or slots.0.state
  "$python" -c '
import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1].split("."):
    value = value[int(step)] if isinstance(value, list) else value[step]
print(value)' "$1"
}

said() { grep -qF -- "$1" "$work/last.log"; }
ended() { [ "$code" = "$1" ]; }
device() { fwctl-agent status --config "$work/$1/agent" --format json | field "$2"; }
runs() { [ "$(device "$1" running.version)" = "$2" ]; }
root_of() { [ "$(device "$1" trust.root)" = "$2" ]; }
slots() { (cd "$work" && for name in $devices; do
  sha256sum "$name"/agent/slots/*.img && readlink "$name/agent/slots/current" && device "$name" running
done); }

start() { # start DEVICE: its agent, until it answers
  fwctl-agent run --config "$work/$1/agent" >"$work/$1/agent.log" 2>&1 &
  agents[$1]=$!
  for _ in $(seq 150); do
    ! grep -q "listening on" "$work/$1/agent.log" || return 0
    kill -0 "${agents[$1]}" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/$1/agent.log" >&2 && exit 1
}
stop() { kill "${agents[$1]}" && wait "${agents[$1]}" || true && unset "agents[$1]"; }

# ---- 1 ---------------------------------------------------------------------------------------------------------------

chapter "1. Five people, a machine that reconciles, and nobody who holds everything"

story "Each person makes a key on their own machine, behind a passphrase. Only the public half leaves it."
mkdir -p "$work"/{alice/fleet,reconciler,channel,images}
for name in $people; do
  mkdir -p "$work/$name" && (umask 077 && echo "a passphrase of $name's own" >"$work/$name/passphrase")
  run "$name" fwctl keys generate "$name" --fleet acme --out-public "$work/channel/$name.pub.json"
done
holds "a person's key lies encrypted on their machine" grep -q "BEGIN ENCRYPTED PRIVATE KEY" \
  "$work/alice/config/acme/keys/alice.pem"

story "The machine that reconciles makes its two keys. It will never hold a person's."
for what in order freshness; do
  run reconciler fwctl keys generate "reconciler-$what" --unencrypted --fleet acme \
    --out-public "$work/channel/$what.pub.json"
done

story "Alice begins. What she gets is a plan: who may say what. She names the reconciler's keys in it."
run alice fwctl init --repo-id acme --profile production
cp "$work"/channel/*.pub.json "$work/alice/fleet/"
sed -i 's/# reconciler: /reconciler: /' "$work/alice/fleet/trust.yaml"
run alice fwctl init --repo-id acme --profile production
holds "a proposal is no trust before people have signed it" test ! -e "$work/alice/fleet/trust/1.root.json"
sed -i "s|path: images|path: $work/images|; s|passInterval: 5m|passInterval: 1m|" "$work/alice/fleet/fleet.yaml"
cat >>"$work/alice/fleet/fleet.yaml" <<'YAML'
  defaults:
    retry: {backoff: {initial: 2s, factor: 1, max: 2s, jitter: 0}}
YAML
git init --quiet --bare --initial-branch "$(on alice git branch --show-current)" "$work/forge.git"
on alice git remote add origin "$work/forge.git"
on alice git add -A && on alice git commit --quiet -m "The plan, and where images lie"
on alice git push --quiet -u origin HEAD
for name in bob carol dave erin reconciler; do git clone --quiet "$work/forge.git" "$work/$name/fleet"; done

story "Two of the three owners sign the first trust: each one command. Dave's signature is not needed."
change alice fwctl trust sign
holds "one of three is not enough" test ! -e "$work/alice/fleet/trust/1.root.json"
change bob fwctl trust sign
holds "two of three made the first trust" test -e "$work/bob/fleet/trust/1.root.json"

story "Everybody else pins the first root by its fingerprint, which bob reads out over the telephone."
fingerprint=$(on bob sha256sum trust/1.root.json | cut -d' ' -f1)
for name in alice carol dave erin reconciler; do
  pull "$name"
  run "$name" fwctl trust pin --fingerprint "$fingerprint"
done
run alice fwctl trust lint
holds "trust lint finds no error" ended 0

story "The reconciler gets what it needs to reach devices: its certificate and its key; not the keys of the CAs."
mkdir -p "$work/reconciler/config/acme/pki"
(cd "$work/alice/config/acme/pki" &&
  cp controller.cert.pem controller.key.pem device-ca.cert.pem "$work/reconciler/config/acme/pki/")
holds "the reconciler holds no person's key" test "$(cd "$work/reconciler/config/acme/keys" && echo *.pem)" = \
  "reconciler-freshness.pem reconciler-order.pem"

# ---- 2 ---------------------------------------------------------------------------------------------------------------

chapter "2. A release, three approvals, two devices"

story "Each device makes its own key; what travels is a request and a bundle."
network=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
for name in $devices; do
  address[$name]=$network.$((10#${name#device-})):8443
  mkdir -p "$work/$name"
  run "$name" fwctl-agent request --config agent --id "$name" --fleet acme --out "$work/channel/$name.csr"
  run alice fwctl device enroll "$name" --model sensor-v1 --env prod-eu --address "${address[$name]}" \
    --request "$work/channel/$name.csr" --out "$work/channel/$name"
  run "$name" fwctl-agent enroll --config agent --bundle "$work/channel/$name"
  holds "the key of $name never left it" test ! -e "$work/channel/$name/identity/device.key.pem"
  start "$name"
done
commit alice "Two devices"

firmware() { # firmware VERSION: an image that erin has built, and its bill of materials
  { echo "sensor firmware $1" && head -c 200000 /dev/urandom; } >"$work/erin/sensor-$1.bin"
  sed "s/@VERSION@/$1/" "$here/sensor.cdx.json" >"$work/erin/sensor-$1.cdx.json"
  pull erin
  run erin fwctl firmware add "$work/erin/sensor-$1.bin" --model sensor-v1 --version "$1" \
    --sbom "$work/erin/sensor-$1.cdx.json"
  commit erin "Firmware $1"
}

story "Erin has built 2.5.0. One command stores it, and signs what it is."
firmware 2.5.0

story "Alice writes the rollout, and locks what it reaches."
pull alice
run alice fwctl rollout create sensors --env prod-eu --firmware sensor-v1@2.5.0 --all --strategy Direct
run alice fwctl plan sensors --lock
commit alice "Roll out 2.5.0"

story "Approving is one command. It shows what is approved, then signs it. Production asks for two managers and security."
change alice fwctl approve sensors --yes

story "One of three: the pass sends nothing, and says who is missing."
a_pass --new-ledger # only the very first one
holds "too few approvals: the pass ends with 1" ended 1
holds "and says who is missing" said "may approve: bob, carol, dave"
for name in $devices; do holds "$name still runs what it came with" runs "$name" 0.0.0; done

approve carol
approve dave
a_pass
holds "with all approvals the pass ends well" ended 0
for name in $devices; do holds "$name runs 2.5.0" runs "$name" 2.5.0; done
run reconciler fwctl device list --with-component openssl@3.0.1
holds "the bill of materials answers which devices run a component" said device-002

# ---- 3 ---------------------------------------------------------------------------------------------------------------

chapter "3. The root is rotated; one device sleeps through it"

story "device-002 loses its power. Meanwhile carol takes bob's place as an owner: again two of the three sign."
stop device-002
change alice fwctl trust rotate-root --add carol.pub.json --remove bob
holds "one signature rotates nothing" test ! -e "$work/alice/fleet/trust/2.root.json"
change dave fwctl trust sign
holds "two of three made root 2" test -e "$work/dave/fleet/trust/2.root.json"

story "2.6.0 is built, planned and approved by alice, bob and dave. The orders of the next pass bring root 2 along."
release() { # release VERSION TARGETS: in the same rollout file
  pull alice
  sed -i "s/version: .*/version: \"$1\"}/; s/^  targets:.*/  targets: {$2}/" \
    "$work/alice/fleet/rollouts/prod-eu/sensors.yaml"
  run alice fwctl plan sensors --lock
  commit alice "Roll out $1"
}
firmware 2.6.0
release 2.6.0 'all: true'
for name in alice bob dave; do approve "$name"; done
a_pass --max-duration 10
holds "the pass goes on: one device does not answer" ended 0
holds "device-001 runs 2.6.0" runs device-001 2.6.0
holds "device-001 trusts root 2" root_of device-001 2
holds "device-002 slept: it trusts root 1" root_of device-002 1

# ---- 4 ---------------------------------------------------------------------------------------------------------------

chapter "4. Bob is revoked in the middle of the rollout"

story "Two of three sign. Bob is out of every role, so the root moves once more: to 3."
change alice fwctl trust revoke bob
change dave fwctl trust sign
start device-002
a_pass
holds "an approval of somebody revoked counts no more: the pass ends with 1" ended 1
holds "and says whose, and why" said "bob: revoked"
holds "and who may approve instead" said "may approve: carol"
holds "device-002 is awake, and was sent nothing" runs device-002 2.5.0

story "Carol looks at it, and approves in his place. The rollout goes on; device-002 walks from root 1 to root 3 in one bundle."
approve carol
a_pass
holds "the pass ends well" ended 0
holds "device-002 runs 2.6.0" runs device-002 2.6.0
holds "device-002 slept through two roots, and trusts root 3" root_of device-002 3

# ---- 5 ---------------------------------------------------------------------------------------------------------------

chapter "5. A thief has all that the reconciler has"

story "2.7.0 is approved by all who must: for device-001 alone. 2.8.0 is signed by erin, and approved by nobody."
firmware 2.7.0
release 2.7.0 'devices: [device-001]'
for name in alice carol dave; do approve "$name"; done
firmware 2.8.0

story "He copies the reconciler's configuration: order key, freshness key, certificate; and whatever lies in git."
mkdir "$work/thief"
cp -r "$work/reconciler/config/acme" "$work/thief/stolen"
git clone --quiet "$work/forge.git" "$work/thief/fleet"
slots >"$work/before.txt"
printf 'thief$ thief.py\n'
(cd "$work/thief" && "$python" "$here/thief.py" --stolen stolen --fleet fleet --images "$work/images" --json attempts.json \
  "device-001=${address[device-001]}" "device-002=${address[device-002]}") | sed 's/^/    /'
slots >"$work/after.txt"
refused() { [ "$(field "$1.code" <"$work/thief/attempts.json")" = "$2" ]; }
holds "thief: what was approved for another device is refused" refused approved-for-another E_NOT_APPROVED
holds "thief: with a proof of his own too" refused own-leaf E_NOT_APPROVED
holds "thief: approvals of his own making are refused" refused own-approvals E_SIG_THRESHOLD
holds "thief: his image under an approved mandate is refused" refused own-image E_NOT_APPROVED
holds "thief: a signed release that nobody approved is refused" refused unapproved-release E_SIG_MISSING
holds "thief: an approval that bob gave before he was revoked is refused" refused revoked-approver E_SIG_THRESHOLD
holds "thief: with the trust from before, too" refused old-trust E_META_ROLLBACK
holds "thief: what was right once, and is older, is refused" refused old-mandate E_ORDER_REPLAY
holds "both devices run what they ran, from the same bytes" cmp "$work/before.txt" "$work/after.txt"

# ---- 6 ---------------------------------------------------------------------------------------------------------------

chapter "6. What happened, for somebody who trusts nobody here"

run reconciler fwctl audit export --rollout prod-eu/sensors --out "$work/evidence"
mkdir "$work/auditor"
cp "$work/bob/fleet/trust/1.root.json" "$work/auditor/" # he has compared its fingerprint with an owner
cp -r "$work/evidence" "$work/auditor/"
run auditor fwctl audit verify evidence --root 1.root.json
holds "an auditor with the first root alone finds that the evidence holds" ended 0
sed -i 's/device-002/device-003/' "$work/auditor/evidence/repository/rollouts/prod-eu/sensors.lock"
try auditor fwctl audit verify evidence --root 1.root.json
holds "and sees one changed letter" ended 1

# ---- summary ---------------------------------------------------------------------------------------------------------

chapter "Summary"
printf '%s\n' "${summary[@]}"
printf '%s claims, all of them hold\n' "${#summary[@]}"
[ -n "${1:-}" ] || { stop_all && rm -rf "$work"; }
