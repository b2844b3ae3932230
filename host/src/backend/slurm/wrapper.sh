index=${SLURM_ARRAY_TASK_ID:-0}
unset SLURM_EXPORT_ENV SBATCH_EXPORT
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $array $index job ${SLURM_JOB_ID:-?}: $1"; }
line=$(sed -n "s/^$index //p" "$map")
[ -n "$line" ] || { say "no such attempt in $map"; exit 120; }
set -f; set -- $line; set +f
kind=$1 attempt=$2 directory=$3
shift 3
cd "$base/$directory" || { say "no attempt directory"; exit 120; }
[ -f matterstack-job.sh ] && grep -qx "# matterstack: $array $index" matterstack-job.sh ||
    { say "attempt $attempt is no longer wanted"; exit 121; }
mkdir .claim || { say "attempt $attempt was claimed before, so it is not started"; exit 122; }
host=$(hostname | tr -cd 'A-Za-z0-9._-')
# nothing starts before the claim is on the disk: a file system that is set back must not take it away
mkdir -p "$marks" && : > "$marks/$index" && echo "$array $index $SLURM_JOB_ID $host" > .claim/owner &&
    sync "$marks/$index" "$marks" "$marks/.." .claim/owner .claim . && claimed=1 || claimed=

now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
after() {
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep "$1" & nap=$!
    wait "$nap" || exit 0
    shift
    "$@"
}
out_of_time() {
    : > .claim/timeout
    kill -s TERM -- "-$child"
    sleep 5 & nap=$!
    wait "$nap"
    kill -s KILL -- "-$child"
}
# Which line of `setup` has ended the job script, if one has: two numbers, or nothing.
failed_setup() {
    [ -f .claim/setup ] && read -r number status _ < .claim/setup || return 1
    case $number in '' | *[!0-9]*) return 1;; esac
    case $status in '' | *[!0-9]*) return 1;; esac
}

# Tells what is wrong with a secret, in a sentence; nothing if it can be read.
wrong_secret() {
    name=$1 place="~/.config/matterstack/secrets/$1" file=$secrets/$1
    set -f; set -- $(LC_ALL=C stat -c '%u %a %s %F' "$file" 2>/dev/null); set +f
    case $4 in
        '') echo "secret \`$name\`: there is no \`$place\` on $host; write it there, and \`chmod 600\` it"; return;;
        regular) wrong=;;
        *) wrong='is not a regular file';;
    esac
    [ -n "$wrong" ] || [ "$1" = "$(id -u)" ] || wrong='belongs to another user'
    [ -n "$wrong" ] || case $2 in
        *00 | 0) ;;
        *) wrong="is open to other users (mode $2); \`chmod 600\` it";;
    esac
    if [ -n "$wrong" ]; then :
    elif [ "$3" -gt 65536 ]; then wrong='has more than 65536 bytes'
    elif [ ! -r "$file" ]; then wrong='cannot be read'
    elif [ "$(tr -d '\000' < "$file" | wc -c)" -ne "$3" ]; then wrong='holds a NUL character, which no variable can'
    elif [ -z "$(cat "$file")" ]; then wrong='is empty'
    fi
    [ -z "$wrong" ] || echo "secret \`$name\`: \`$place\` on $host $wrong"
}
wrong_secrets() {
    secrets=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}/.config/matterstack/secrets
    for word; do
        told=$(wrong_secret "${word#*=}")
        [ -z "$told" ] || return 0
    done
    return 1
}
# Becomes the job script, which alone has the secrets in its environment.
run_job() {
    for word; do
        export "${word%%=*}=$(cat "$secrets/${word#*=}")"
    done
    exec setsid ./matterstack-job.sh
}

caught= stopped= code=null signal=null reason=exited message=null cpu=null
trap 'caught=1 stopped=1' TERM
trap 'caught=1; kill -USR1 "$child"' USR1
started=$(now)
if [ -z "$claimed" ]; then
    say "the claim of attempt $attempt cannot be made durable, so it is not started"
    reason=not-started message='"its claim could not be written"'
elif wrong_secrets "$@"; then
    reason=secret message="\"$told\""
elif : >> stdout && : >> stderr; then
    export MATTERSTACK_CLAIM="$PWD/.claim"
    run_job "$@" < /dev/null >> stdout 2>> stderr &
    child=$!
    timers=
    [ -z "$wall" ] || { after "$wall" out_of_time & timers=$!; } 2>/dev/null
    [ -z "$warn" ] || { after "$warn" kill -USR1 "$child" & timers="$timers $!"; } 2>/dev/null
    wait "$child"
    code=$?
    while [ -n "$caught" ]; do
        caught=
        wait "$child"
        again=$?
        [ "$again" = 127 ] || code=$again
    done
    [ -z "$timers" ] || kill $timers 2>/dev/null
    kill -s KILL -- "-$child" 2>/dev/null
    if [ -e .claim/timeout ]; then reason=timeout
    elif [ -n "$stopped" ]; then reason=terminated
    elif failed_setup; then
        reason=setup message="\"line $number of \`setup\` failed with code $status\""
    elif [ "$kind" = argv ] && [ "$code" = 127 ]; then reason=not-found
    elif [ "$kind" = argv ] && [ "$code" = 126 ]; then reason=not-executable
    elif [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then reason=signal signal=$((code - 128)) code=null
    fi
    # what its children have used, in seconds
    rm -rf .claim/times
    times > .claim/times
    cpu=$(LC_ALL=C awk 'NR == 2 { gsub("s", ""); split($1, u, "m"); split($2, s, "m")
        printf "%.2f", (u[1] + s[1]) * 60 + u[2] + s[2] }' .claim/times)
else
    reason=not-started
fi
if [ "$reason $code" = "exited 0" ] && [ -e .matterstack-after ]; then . ./.matterstack-after; fi
# what the command left there is neither written into nor waited for
rm -rf .exit.json.tmp
printf '{"format":%s,"attempt":"%s","code":%s,"signal":%s,"reason":"%s","message":%s,"queued_at":"%s","started_at":"%s","ended_at":"%s","host":"%s","cpu_s":%s}\n' \
    "$format" "$attempt" "$code" "$signal" "$reason" "$message" "$queued" "$started" "$(now)" "$host" "${cpu:-null}" > .exit.json.tmp &&
    sync .exit.json.tmp && mv -fT .exit.json.tmp exit.json || { say "cannot write exit.json of attempt $attempt"; exit 123; }
[ "$reason" != exited ] || exit "$code"
exit 1
