// Tile plays one stream of one device by WHEP (RFC 9725), with the signalling
// carried by the panel and the pictures straight from the device.
//
// The peer connection is ended only when the browser says that it failed or was
// ended by the device, or when it never came to be. Nothing that a device reports ends it, however long its
// link to the panel is away.

import { attr, text } from './dom.js';
import { drawPulse } from './pulse.js';
import { Meter } from './meter.js';
import { duration } from './words.js';

const FROZEN = 500; // ms without a picture until the veil falls
const GATHER = 1000; // ms that candidates may take
const CONNECT = 10000; // ms that a connection may take to come up
const RETRY_FIRST = 250;
const RETRY_LAST = 5000;

export class Tile {
  #el;
  #video;
  #device;
  #stream = null;
  #pc = null;
  #session = null; // where to end it
  #retry = RETRY_FIRST;
  #timer = null;
  #reachable = false;
  #onScreen = true;
  connects = 0; // peer connections made so far
  meter;

  constructor(device, el) {
    this.#device = device;
    this.#el = el;
    this.#video = el.tile.querySelector('video');
    this.meter = new Meter(this.#video);
    new IntersectionObserver((entries) => {
      this.#onScreen = entries.at(-1).isIntersecting;
      this.meter.watch(this.#watched);
    }).observe(this.#video);
    document.addEventListener('visibilitychange', () => this.meter.watch(this.#watched));
    window.addEventListener('pagehide', () => this.#leave());
    this.#say('idle', 'no stream yet');
  }

  // offer tells the tile what it could play. It changes nothing while a
  // connection lives.
  offer(stream, reachable) {
    this.#stream = stream;
    const back = reachable && !this.#reachable;
    this.#reachable = reachable;
    if (this.#pc) return;
    if (!reachable) this.#say('idle', 'offline');
    else if (!stream) this.#say('idle', 'no stream yet');
    if (!stream || !reachable) return;
    if (back) this.#retry = RETRY_FIRST;
    if (back || !this.#timer) this.#again(0);
  }

  #again(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (!this.#pc && this.#reachable) this.#connect();
    }, delay);
  }

  async #connect() {
    const pc = new RTCPeerConnection();
    this.#pc = pc;
    this.connects++;
    this.#say('connecting', 'connecting');
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = (e) => {
      this.#show(e.track);
      // The device says goodbye here long before the browser calls it a failure.
      const { transport } = e.receiver;
      transport.onstatechange = () => {
        if (transport.state === 'closed' || transport.state === 'failed') this.#drop(pc, 'the device ended the connection');
      };
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connected') this.#retry = RETRY_FIRST;
      if (pc.connectionState === 'failed') this.#drop(pc, 'the connection to the device failed');
    };
    const late = setTimeout(() => {
      if (pc.connectionState !== 'connected') this.#drop(pc, 'no connection to the device');
    }, CONNECT);
    pc.addEventListener('connectionstatechange', () => { if (pc.connectionState !== 'connecting') clearTimeout(late); });
    try {
      await pc.setLocalDescription();
      await gathered(pc);
      const answer = await this.#post(pc.localDescription.sdp);
      if (this.#pc === pc) await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch (err) {
      clearTimeout(late);
      this.#drop(pc, err.message);
    }
  }

  async #post(sdp) {
    const path = `/api/devices/${encodeURIComponent(this.#device)}/whep/${encodeURIComponent(this.#stream)}`;
    const resp = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: sdp });
    if (resp.status !== 201) throw new Error(await problem(resp));
    this.#session = resp.headers.get('Location');
    return resp.text();
  }

  #show(track) {
    // The element keeps its stream object; only the track in it changes.
    const stream = this.#video.srcObject || new MediaStream();
    for (const old of stream.getTracks()) stream.removeTrack(old);
    stream.addTrack(track);
    if (!this.#video.srcObject) this.#video.srcObject = stream;
    this.#video.play().catch(() => {}); // a muted video may play; if not, the veil tells
  }

  #drop(pc, why) {
    if (this.#pc !== pc) return;
    pc.close();
    this.#leave();
    this.#pc = null;
    this.#say('waiting', this.#reachable ? why : 'offline');
    this.#again(this.#retry * (0.5 + Math.random() / 2));
    this.#retry = Math.min(RETRY_LAST, this.#retry * 2);
  }

  // leave ends the session at the device, also when the page goes away.
  #leave() {
    if (!this.#session) return;
    fetch(this.#session, { method: 'DELETE', keepalive: true }).catch(() => {});
    this.#session = null;
  }

  get #watched() { return this.#onScreen && document.visibilityState === 'visible'; }

  // tick judges whether the picture stands still, and shows the figures.
  tick(now) {
    if (!this.#watched) return;
    if (this.#pc && this.meter.lastAt !== null) {
      const still = now - this.meter.lastAt;
      if (still <= FROZEN) this.#say('playing', '');
      else this.#say('stalled', 'no new picture for ' + duration(still));
    }
    const worst = this.meter.worst(now);
    text(this.#el.gap, worst === null ? '–' : duration(worst));
    drawPulse(this.#el.pulse, this.meter, now);
  }

  #say(state, words) {
    attr(this.#el.tile, 'data-state', state);
    text(this.#el.veil, words);
  }

  // figures is what tests may read.
  figures() {
    const tile = this;
    return Object.freeze({
      get presented() { return tile.meter.presented; },
      get longestGapMs() { return tile.meter.longestGapMs; },
      get missed() { return tile.meter.missed; },
      get gaps() { return tile.meter.gaps.map((g) => ({ ...g })); },
      get connects() { return tile.connects; },
      get connectionState() { return tile.#pc ? tile.#pc.connectionState : 'none'; },
      get state() { return tile.#el.tile.dataset.state; },
      frames: (since) => tile.meter.frames(since),
      stats: () => tile.#stats(),
    });
  }

  // stats is the browser's own account of the received video.
  async #stats() {
    if (!this.#pc) return null;
    for (const report of (await this.#pc.getStats()).values()) {
      if (report.type === 'inbound-rtp' && report.kind === 'video') return { ...report };
    }
    return null;
  }
}

function gathered(pc) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER);
    pc.addEventListener('icegatheringstatechange', () => { if (pc.iceGatheringState === 'complete') resolve(); });
  });
}

export async function problem(resp) {
  try {
    return (await resp.json()).detail;
  } catch {
    return `the panel answered ${resp.status}`;
  }
}
