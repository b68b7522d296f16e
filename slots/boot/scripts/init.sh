#!/bin/sh
# What an init does that keeps its state in a plain file (boot.NewFile).
# Called as: init.sh STATE-FILE START-COMMAND
# START-COMMAND is run with "a", "b" or "recovery", and comes back if that cannot
# be started.
set -u
state=$1
start=$2

st_good='' st_try='' st_tries=0 st_failed=''
if [ -f "$state" ] && [ "$(tail -n 1 "$state")" = '# end' ]; then
	while IFS='=' read -r name value; do
		case $name in
		st_good) st_good=$value ;;
		st_try) st_try=$value ;;
		st_tries) st_tries=$value ;;
		st_failed) st_failed=$value ;;
		esac
	done <"$state"
fi
[ -n "$st_good" ] || st_good=a

# save replaces the file whole.
save() {
	{
		echo "st_good=$st_good"
		[ -z "$st_try" ] || printf 'st_try=%s\nst_tries=%s\n' "$st_try" "$st_tries"
		[ -z "$st_failed" ] || echo "st_failed=$st_failed"
		echo '# end'
	} >"$state.new" && sync "$state.new" && mv "$state.new" "$state" && sync "$(dirname "$state")"
}

# The try is spent before the start: a kernel that hangs has used it up too.
slot=$st_good
if [ -n "$st_try" ]; then
	if [ "$st_tries" -gt 0 ]; then
		st_tries=$((st_tries - 1))
		slot=$st_try
	else
		st_failed=$st_try st_try=''
	fi
	save || slot=$st_good
fi
"$start" "$slot"

# It could not be started: the other one, and then the recovery, and no loop.
case $slot in a) slot=b ;; *) slot=a ;; esac
if [ "$slot" != "$st_failed" ] && [ "$slot" != "$st_try" ]; then
	"$start" "$slot"
fi
"$start" recovery
