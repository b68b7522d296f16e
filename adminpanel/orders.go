package adminpanel

import (
	"crypto/ecdsa"

	"slipstream/adminpanel/order"
)

// openOrders reads the fleet's roots and the keys that sign its orders. Without keys devices
// get the root all the same: their orders come from elsewhere then, in packages.
func (p *Panel) openOrders() (err error) {
	if p.cfg.Fleet == "" {
		return nil
	}
	if p.roots, err = order.LoadRoots(p.cfg.Fleet); err != nil || len(p.cfg.Orders) == 0 {
		return err
	}
	var keys []*ecdsa.PrivateKey
	for _, file := range p.cfg.Orders {
		key, err := order.LoadKey(file)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	p.orders, err = order.New(order.Config{Store: p.store, Audit: p.audit, Releases: p.releases, Roots: p.roots, Keys: keys, Log: p.log})
	return err
}

// newerRoots are those that devices may not have which enrolled long ago.
func (p *Panel) newerRoots() [][]byte { return order.Newer(p.roots) }
