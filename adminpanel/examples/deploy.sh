#!/bin/sh
# deploy.sh PACKAGE brings a package to a staging fleet, and, when all of that runs it and
# has been watched for a while, to production in waves. Copy it and make it yours: a deploy
# is short enough to be written anew for each.
#
# It ends with 0 when every device runs the package. Otherwise with the code of the step that
# did not go well, and nothing after that step is begun: 3 the package was refused, 4 a
# rollout has halted or waits for somebody's approval, 5 devices have gone back.
#
# The panel and the token come from "slipstream-panel fleet login", or from
# $SLIPSTREAM_FLEET_PANEL and $SLIPSTREAM_FLEET_TOKEN.
set -eu

package=${1:?which package?}
staging=${STAGING:-site:staging}
production=${PRODUCTION:--site:staging}
soak=${SOAK:-30m}
name=$(basename "$package" .slip)

fleet() { slipstream-panel fleet "$@"; }

release=$(fleet release add --id "$package")
echo "release $release"

echo "staging: $staging"
fleet rollout create --release "$release" --name "$name to staging" \
	--waves 1 --soak "$soak" --success 100 --fail-count 1 --start --wait -- "$staging"

echo "production: $production"
fleet rollout create --release "$release" --name "$name to production" \
	--waves 1,10%,50% --soak "$soak" --fail 2 --start --wait -- "$production"

fleet versions
