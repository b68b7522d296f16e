package boot

import _ "embed"

// What boot loaders have to do, for vendors to take over as it is.
var (
	// TrialScript is the U-Boot script of Trial with the format Sequence.
	//go:embed scripts/trial.cmd
	TrialScript string
	// OrderScript is the U-Boot script of Order.
	//go:embed scripts/order.cmd
	OrderScript string
	// BootCountEnv is the U-Boot environment of BootCount.
	//go:embed scripts/bootcount.env
	BootCountEnv string
	// InitScript is for an init with NewFile.
	//go:embed scripts/init.sh
	InitScript string
)
