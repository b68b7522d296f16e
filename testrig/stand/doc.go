// Package stand runs the forwarder and the gateway alone, from the built binaries,
// and speaks to the forwarder as the agent would, so that a test or a measurement
// can switch and revert hundreds of times a minute.
//
// It keeps the promise of package device: nothing that it started is left running,
// however its user ends. The forwarder is started as the agent starts it, with a
// store for its descriptors, so that it can be replaced and can crash. What an
// update does to a whole device is package device's to show; here no agent decides
// anything.
//
// Two kinds of apps publish to a stand: the sample camera as a process of its own
// ([App]), which can be killed, stopped and made large, and a [Scene] made in the
// user's own process, as fast as one likes, which no decoder can show.
package stand
