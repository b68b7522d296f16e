// Player plays one stream of one device by WHEP (RFC 9725): connecting, playing, stalled
// after half a second without a picture, reconnecting for ever. Where there is no way to
// the device, its pictures come through the panel, if that is set up for it.
//
// A connection is ended only when the browser says that it failed or the device ended it, or
// when it brings no picture and the device, which was away, has called again.
// Nothing that a device reports ends one that plays, however long its link to the panel is away.

import { signal } from '@preact/signals';
import { Problem, raw, why } from './api';

export type Playing = 'idle' | 'connecting' | 'playing' | 'stalled' | 'reconnecting';

const frozen = 500; // ms without a picture until the veil falls
const gather = 1000; // ms that candidates may take
const connect = 10_000; // ms that a connection may take to come up
const first = 250; // ms until the first new try; they double
const last = 5000;
const minute = 60_000;

// relay says whether the panel may bring pictures itself, as far as is known.
let relay = true;

// all are the players of this page: one clock judges them, and tests read them.
const all = new Set<Player>();
let ticking = 0;
Object.assign(window, {
  slipstream: {
    get players() {
      return [...all].map((p) => ({ device: p.device, stream: p.stream, state: p.state.value, connects: p.connects, frames: p.frames, worst: p.worst() }));
    },
  },
});

export class Player {
  readonly state = signal<Playing>('idle');
  readonly words = signal('');
  readonly still = signal(0); // ms since the newest picture
  readonly gap = signal<number | null>(null); // worst of the last minute, ms
  readonly rate = signal(0); // pictures a second
  connects = 0;
  frames = 0;
  #pc: RTCPeerConnection | null = null;
  #session = '';
  #retry = first;
  #timer = 0;
  #wanted = false;
  #lastAt = 0;
  #backAt = 0; // when the device came back
  #gaps: { at: number; ms: number }[] = [];
  #times: number[] = [];
  #closed = false;
  #relayed = false; // the pictures go through the panel

  constructor(readonly device: string, readonly stream: string, private readonly video: HTMLVideoElement) {
    all.add(this);
    ticking ||= setInterval(() => all.forEach((p) => p.#tick(performance.now())), 100);
    const next = () => {
      if (this.#closed) return;
      video.requestVideoFrameCallback((_, meta) => {
        this.#frame(meta.presentationTime);
        next();
      });
    };
    next();
  }

  // want says whether somebody looks and there is something to see. A picture that nobody
  // sees costs the device an uplink.
  want(yes: boolean): void {
    if (yes === this.#wanted) return;
    this.#wanted = yes;
    if (yes) {
      this.#lastAt = 0;
      this.#retry = first;
      this.#again(0);
      return;
    }
    clearTimeout(this.#timer);
    this.#end();
    this.#say('idle', '');
  }

  // kick tries at once: the hub says that the device is back. It may have started anew, and
  // know nothing of a connection that stands still.
  kick(): void {
    if (!this.#wanted) return;
    this.#backAt = performance.now();
    if (this.#pc && this.state.value !== 'stalled') return; // if it stands still, the clock will see
    this.#end();
    this.#retry = first;
    this.#again(0);
  }

  close(): void {
    this.#closed = true;
    this.want(false);
    all.delete(this);
    if (!all.size) {
      clearInterval(ticking);
      ticking = 0;
    }
  }

  worst(): number | null {
    const since = performance.now() - minute;
    this.#gaps = this.#gaps.filter((g) => g.at > since);
    return this.#gaps.length ? Math.max(...this.#gaps.map((g) => g.ms)) : null;
  }

  #frame(at: number): void {
    this.frames++;
    if (this.#lastAt) this.#note(at, at - this.#lastAt);
    this.#lastAt = at;
    this.#times.push(at);
  }

  // note keeps the worst gap of each second: that is enough to know the minute's.
  #note(at: number, ms: number): void {
    const newest = this.#gaps.at(-1);
    if (newest && Math.floor(newest.at / 1000) === Math.floor(at / 1000)) newest.ms = Math.max(newest.ms, ms);
    else this.#gaps.push({ at, ms });
  }

  #tick(now: number): void {
    if (!this.#wanted) return;
    while (this.#times.length && this.#times[0]! < now - 2000) this.#times.shift();
    this.rate.value = Math.round(this.#times.length / 2);
    if (this.#lastAt) {
      const still = now - this.#lastAt;
      this.still.value = still > frozen ? Math.floor(still / 100) * 100 : 0;
      if (this.#pc && still <= frozen) this.#say('playing', '');
      else if (this.#pc && this.state.value === 'playing') {
        this.#say('stalled', '');
        if (this.#lastAt < this.#backAt) this.kick();
      }
      // A gap that lasts counts before it is over.
      if (still > frozen) this.#note(now, still);
    }
    this.gap.value = this.worst();
  }

  #say(state: Playing, words: string): void {
    this.state.value = state;
    this.words.value = words;
  }

  #again(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wanted && !this.#pc && void this.#connect(), ms);
  }

  async #connect(): Promise<void> {
    const pc = (this.#pc = new RTCPeerConnection());
    this.connects++;
    this.#say(this.#lastAt ? 'reconnecting' : 'connecting', '');
    pc.addTransceiver('video', { direction: 'recvonly' });
    let came = false;
    const lost = (words: string) => (came ? this.#drop(pc, words) : this.#other(pc, 'no way to the device was found'));
    pc.ontrack = (e) => {
      this.#show(e.track);
      // The device says goodbye here long before the browser calls it a failure.
      const { transport } = e.receiver;
      if (transport) transport.onstatechange = () => /closed|failed/.test(transport.state) && lost('the device ended the connection');
    };
    const late = setTimeout(() => pc.connectionState !== 'connected' && lost(''), this.#relayed ? 2 * connect : connect);
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connected') {
        came = true;
        this.#retry = first;
      }
      if (pc.connectionState === 'failed') lost('the connection to the device failed');
      if (pc.connectionState !== 'connecting') clearTimeout(late);
    };
    try {
      const path = `devices/${encodeURIComponent(this.device)}/whep/${encodeURIComponent(this.stream)}${this.#relayed ? '?via=panel' : ''}`;
      if (this.#relayed) {
        const iceServers = await servers(path);
        if (this.#pc !== pc) return;
        pc.setConfiguration({ iceServers });
      }
      await pc.setLocalDescription();
      await gathered(pc);
      const resp = await raw(path, 'POST', pc.localDescription!.sdp, { headers: { 'Content-Type': 'application/sdp', Accept: 'application/sdp' } });
      const session = resp.headers.get('Location') ?? '';
      const answer = await resp.text();
      if (this.#pc !== pc) return leave(session);
      this.#session = session;
      await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch (err) {
      clearTimeout(late);
      if (err instanceof Problem && err.code === 'not-set-up') relay = this.#relayed = false;
      this.#drop(pc, why(err));
    }
  }

  #show(track: MediaStreamTrack): void {
    // The element keeps its stream object; only the track in it changes.
    const stream = (this.video.srcObject as MediaStream | null) ?? new MediaStream();
    for (const old of stream.getTracks()) stream.removeTrack(old);
    stream.addTrack(track);
    if (!this.video.srcObject) this.video.srcObject = stream;
    this.video.play().catch(() => {}); // a muted video may play; if not, the veil tells
  }

  // other tries the other way next: directly, or through the panel.
  #other(pc: RTCPeerConnection, words: string): void {
    if (this.#pc === pc) this.#relayed = relay && !this.#relayed;
    this.#drop(pc, words);
  }

  // drop gives one connection up and tries anew. What the panel refuses now it may grant
  // when the device is back, so no answer is the last.
  #drop(pc: RTCPeerConnection, words: string): void {
    if (this.#pc !== pc) return;
    this.#end();
    this.#say('reconnecting', words);
    this.#again(this.#retry * (0.75 + Math.random() / 2));
    this.#retry = Math.min(last, this.#retry * 2);
  }

  #end(): void {
    this.#pc?.close();
    this.#pc = null;
    leave(this.#session);
    this.#session = '';
  }
}

function leave(session: string): void {
  if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
}

// servers are those by which the panel's relay can be reached where UDP is blocked (RFC 9725
// §4.6). They have to be known before the offer is made.
async function servers(path: string): Promise<RTCIceServer[]> {
  const links = (await raw(path, 'OPTIONS', undefined)).headers.get('Link') ?? '';
  return [...links.matchAll(/<([^>]*)>((?:\s*;\s*[a-z-]+="[^"]*")*)/g)].flatMap(([, urls, rest]) => {
    const is = Object.fromEntries([...rest!.matchAll(/([a-z-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    return is.rel === 'ice-server' ? [{ urls: urls!, username: is.username, credential: is.credential }] : [];
  });
}

window.addEventListener('pagehide', () => all.forEach((p) => p.want(false)));

function gathered(pc: RTCPeerConnection): Promise<void> {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, gather);
    pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && resolve());
  });
}
