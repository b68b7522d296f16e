// Meter measures the time between pictures as they reach this screen.
//
// It asks the browser for a call at each presented frame. When the browser was
// too busy to call for each one, the count of presented frames says so, and the
// time since the last call is then an upper bound; such a gap says how many
// frames it hides. Time in which nobody could see the page is no gap.

const KEEP = 4096; // frames remembered: more than two minutes at 30 a second
const MINUTE = 60000;
const NOTED = 80; // gaps longer than this many ms are noted one by one
const MAX_NOTED = 256;

export class Meter {
  #video;
  #frames = []; // {at, gap, presented, rtp}, at in ms of performance.now()
  #last = null; // the newest frame that the next gap is counted from
  #watched = true;
  presented = 0;
  longestGapMs = 0;
  missed = 0;
  gaps = [];

  constructor(video) {
    this.#video = video;
    this.#next();
  }

  #next() {
    this.#video.requestVideoFrameCallback((_, meta) => {
      this.#frame(meta);
      this.#next();
    });
  }

  #frame(meta) {
    const frame = { at: meta.presentationTime, gap: 0, presented: meta.presentedFrames, rtp: meta.rtpTimestamp };
    const last = this.#last;
    // The count begins anew when the video element gets another stream.
    const step = last && meta.presentedFrames > last.presented ? meta.presentedFrames - last.presented : 1;
    this.presented += step;
    this.missed += step - 1;
    if (last) this.#gap(frame, frame.at - last.at, step - 1);
    this.#last = this.#watched ? frame : null;
    this.#frames.push(frame);
    if (this.#frames.length > KEEP) this.#frames.splice(0, KEEP / 4);
  }

  #gap(frame, ms, hidden) {
    frame.gap = ms;
    this.longestGapMs = Math.max(this.longestGapMs, ms);
    if (ms <= NOTED) return;
    this.gaps.push({ at: frame.at, ms, hidden });
    if (this.gaps.length > MAX_NOTED) this.gaps.shift();
  }

  // watch says whether somebody can see the pictures. What lies between the last
  // frame before a change and the first after it is no gap.
  watch(yes) {
    this.#watched = yes;
    this.#last = null;
  }

  // lastAt is when the newest picture came, or null before the first.
  get lastAt() { return this.#frames.length ? this.#frames.at(-1).at : null; }

  // frames lists the pictures since a time of performance.now().
  frames(since = 0) { return this.#frames.filter((f) => f.at >= since).map((f) => ({ ...f })); }

  // worst is the longest gap of the last minute, or null without pictures.
  worst(now) {
    const recent = this.#frames.filter((f) => f.at >= now - MINUTE);
    return recent.length > 1 ? recent.reduce((most, f) => Math.max(most, f.gap), 0) : null;
  }
}
