// Player plays one stream of one device by WHEP (RFC 9725): connecting, playing, stalled
// after half a second without a picture, reconnecting for ever. Where there is no way to
// the device, its pictures come through the panel, if that is set up for it.
//
// A connection is ended only when the browser says that it failed or the device ended it, or
// when it brings no picture and the device, which was away, has called again. When the network
// has changed it is tried to keep it: another ICE session has the same keys.
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
  #tag = ''; // of the ICE session; '' while another one is asked for
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
    pc.oniceconnectionstatechange = () => pc.iceConnectionState === 'disconnected' && void this.#restart(pc);
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
      this.#tag = resp.headers.get('ETag') ?? '';
      await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch (err) {
      clearTimeout(late);
      if (err instanceof Problem && err.code === 'not-set-up') relay = this.#relayed = false;
      this.#drop(pc, why(err));
    }
  }

  // restart begins another ICE session (RFC 9725 §4.3.3): nothing has come by this one for
  // seconds, but there may be another way. Who does not know the session any more says so.
  async #restart(pc: RTCPeerConnection): Promise<void> {
    const tag = this.#tag;
    if (this.#pc !== pc || !tag) return;
    this.#tag = '';
    try {
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
      await gathered(pc);
      const resp = await this.#tell(pc, tag, pick(pc.localDescription!.sdp, ours).join('\r\n') + '\r\n');
      const text = await resp.text();
      if (this.#pc !== pc) return;
      await pc.setRemoteDescription({ type: 'answer', sdp: renewed(pc.remoteDescription!.sdp, text) });
      this.#tag = resp.headers.get('ETag') ?? '';
    } catch (err) {
      this.#drop(pc, why(err));
    }
  }

  // tell says something of the session's ICE, for as long as the browser has hopes: the way to
  // the panel may just have changed too.
  async #tell(pc: RTCPeerConnection, tag: string, fragment: string): Promise<Response> {
    for (;;) {
      try {
        return await raw(this.#session.slice('/api/v1/'.length), 'PATCH', fragment, {
          headers: { 'Content-Type': fragments, 'If-Match': tag, Accept: fragments },
        });
      } catch (err) {
        const passes = err instanceof Problem && (!err.status || err.status >= 502);
        if (!passes || this.#pc !== pc) throw err;
        await new Promise((resolve) => setTimeout(resolve, first));
        if (this.#pc !== pc) throw err;
      }
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
    this.#session = this.#tag = '';
  }
}

function leave(session: string): void {
  if (session) fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
}

const fragments = 'application/trickle-ice-sdpfrag';
const ours = /^(a=group:|m=|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:)/;
const theirs = /^a=(ice-ufrag:|ice-pwd:|candidate:|end-of-candidates)/;

// pick takes lines out of a description.
const pick = (sdp: string, which: RegExp) => sdp.split('\r\n').filter((line) => which.test(line));

// renewed is an answer with what a fragment says of another ICE session.
function renewed(sdp: string, fragment: string): string {
  const fresh = pick(fragment, theirs);
  const credentials = fresh.filter((line) => line.startsWith('a=ice-'));
  let section = 0;
  return sdp.split('\r\n').flatMap((line) => {
    if (theirs.test(line)) return [];
    if (!line.startsWith('a=mid:')) return [line];
    return [line, ...(section++ ? credentials : fresh)];
  }).join('\r\n');
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
