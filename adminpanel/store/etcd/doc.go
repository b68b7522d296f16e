// Package etcd keeps a panel's store in an etcd cluster, so that any number of panels can
// serve one fleet.
//
// Revisions are etcd's own, conditions compare modification revisions in one transaction,
// and who leads holds a key that lives with a lease: a panel that dies or is cut off loses
// it after [LeaseTTL], and its commits fail from the moment that another one leads.
//
// What it keeps: reads and commits go through the cluster's majority (linearizable), so a
// member that is cut off answers nothing rather than something old.
//
// What it does not do: compact the history. etcd's own --auto-compaction-retention=1h is
// for that; `slipstream-panel doctor` and the documentation of etcd tell of its quota.
package etcd
