// Events keeps one stream of events from the panel, for ever.

const SILENT = 25000; // ms; the panel sends something every 10 s
const RETRY = 1500;

export class Events {
  #source = null;
  #timer = null;
  #handlers;

  // handlers: {live(bool), snapshot(data), device(data), releases(data)}
  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
  }

  #open() {
    const source = new EventSource('/api/events');
    this.#source = source;
    for (const kind of ['snapshot', 'device', 'releases', 'beat']) {
      source.addEventListener(kind, (e) => {
        this.#alive();
        if (kind !== 'beat') this.#handlers[kind](JSON.parse(e.data));
      });
    }
    source.onerror = () => this.#lost();
    this.#watch(SILENT);
  }

  #alive() {
    this.#handlers.live(true);
    this.#watch(SILENT);
  }

  // lost opens another stream rather than wait for the browser's own attempt,
  // which is not made after an error of the panel's.
  #lost() {
    this.#handlers.live(false);
    this.#source.close();
    this.#watch(RETRY);
  }

  #watch(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#handlers.live(false);
      this.#source.close();
      this.#open();
    }, ms);
  }
}
