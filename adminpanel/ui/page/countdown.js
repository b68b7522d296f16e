// A countdown by the device's own word. The device says how much is left, the
// panel how old that word is, and only the time since then is measured here: no
// two clocks are compared.

export class Countdown {
  #left = 0;
  #from = 0;

  // set takes what was left in ms when the device said so, which was ageMs before
  // the word arrived here at a time of performance.now().
  set(leftMs, ageMs, arrived) {
    this.#left = leftMs - ageMs;
    this.#from = arrived;
  }

  left(now) { return Math.max(0, this.#left - (now - this.#from)); }
}
