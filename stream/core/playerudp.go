package core

// playerPath is how one track goes to an RTSP viewer over UDP: two sockets that are
// connected to the ports that it named at SETUP.
type playerPath struct{ rtp, rtcp playerSocket }

type playerSocket struct {
	player *player
	fd     int
	rtcp   bool
}

// handlers are those of the viewer's descriptors, in their order.
func (p *player) handlers(fds []int) []handler {
	all := []handler{p}
	for i := range p.paths {
		way := &p.paths[i]
		way.rtp = playerSocket{player: p, fd: fds[1+2*i]}
		way.rtcp = playerSocket{player: p, fd: fds[2+2*i], rtcp: true}
		all = append(all, &way.rtp, &way.rtcp)
	}
	return all
}

// closePaths closes what the viewer has beside its connection.
func (p *player) closePaths(c *Core) {
	for i := range p.paths {
		c.poll.close(p.paths[i].rtp.fd)
		c.poll.close(p.paths[i].rtcp.fd)
	}
}

// ready takes what came from the viewer's port, and goes on sending if the socket
// was full. What comes on the way of the packets is there to open it.
func (s *playerSocket) ready(c *Core, now int64) {
	p := s.player
	if !s.rtcp && p.blockedAt != 0 {
		p.unblock(c)
	}
	for range ingressBatch {
		n, errno := receive(s.fd, c.scratch[:maxDatagram])
		switch {
		case errno == eagain:
			return
		case errno != 0 || n == 0 || n > maxDatagram: // the network's word on what was sent; rubbish
			p.refused++
		case s.rtcp:
			p.hear(c, c.scratch[:n], now)
		}
		if p.fd < 0 {
			return
		}
	}
	c.poll.again(s.fd, playerEvents)
}

// pack implements [packer].
func (p *player) pack(dst []byte, head *[rtpHeader]byte, payload []byte, _ uint64) []byte {
	return append(append(dst, head[:]...), payload...)
}

// give implements [packer]. Whether the viewer is still there, its silence says.
func (p *player) give(c *Core, t *track) (done int, full bool) {
	return c.burst.send(p.paths[p.number(t)].rtp.fd)
}

// sendDoubtful sends again what was on its way when the process before ended.
func (p *player) sendDoubtful(c *Core) {
	for i := range p.paths {
		t := p.tracks[i]
		w := &t.onWay
		if !w.doubt {
			continue
		}
		w.doubt = false
		for n := range uint64(w.count) {
			p.resend(c, t, w.index+n)
		}
	}
}

// resend sends a packet again over UDP; it is lost if it was not sent before.
func (p *player) resend(c *Core, t *track, index uint64) {
	pkt, ts, marked, ok := t.sent.find(c.lines, index)
	if !ok {
		return
	}
	payload, _ := rtpPayload(pkt) // as it was sent
	c.head = header(index, ts, marked)
	t.sign(&c.head)
	_ = c.sender.send(p.paths[p.number(t)].rtp.fd, c.head[:], payload)
}
