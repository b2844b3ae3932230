index=${SLURM_ARRAY_TASK_ID:-0}
unset SLURM_EXPORT_ENV SBATCH_EXPORT
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $batch $index job ${SLURM_JOB_ID:-?}: $1"; }
line=$(sed -n "s/^$index //p" "$map")
[ -n "$line" ] || { say "no such attempt in $map"; exit 120; }
set -f; set -- $line; set +f
kind=$1 attempt=$2 directory=$3
cd "$base/$directory" || { say "no attempt directory"; exit 120; }
grep -qx "# matterstack: $batch $index" matterstack-job.sh || { say "attempt $attempt is no longer wanted"; exit 121; }
mkdir .claim || { say "attempt $attempt was claimed before, so it is not started"; exit 122; }
echo "$batch $index $SLURM_JOB_ID $(hostname)" > .claim/owner

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

caught= stopped= code=null signal=null reason=exited
trap 'caught=1 stopped=1' TERM
trap 'caught=1; kill -USR1 "$child"' USR1
started=$(now)
if : >> stdout && : >> stderr; then
    setsid ./matterstack-job.sh < /dev/null >> stdout 2>> stderr &
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
    elif [ "$kind" = argv ] && [ "$code" = 127 ]; then reason=not-found
    elif [ "$kind" = argv ] && [ "$code" = 126 ]; then reason=not-executable
    elif [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then reason=signal signal=$((code - 128)) code=null
    fi
else
    reason=not-started
fi
if [ "$reason $code" = "exited 0" ] && [ -e .matterstack-after ]; then . ./.matterstack-after; fi
# what the command left there is neither written into nor waited for
rm -rf .exit.json.tmp
printf '{"attempt":"%s","code":%s,"signal":%s,"reason":"%s","message":null,"started_at":"%s","ended_at":"%s"}\n' \
    "$attempt" "$code" "$signal" "$reason" "$started" "$(now)" > .exit.json.tmp &&
    sync .exit.json.tmp && mv -fT .exit.json.tmp exit.json || { say "cannot write exit.json of attempt $attempt"; exit 123; }
[ "$reason" != exited ] || exit "$code"
exit 1
