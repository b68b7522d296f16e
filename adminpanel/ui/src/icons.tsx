// Signs, drawn on a grid of 16. A state is never told by colour alone.

const shapes: Record<string, string> = {
  ready: 'M8 2.3a5.7 5.7 0 1 0 0 11.4A5.7 5.7 0 0 0 8 2.3M5.4 8.2l1.8 1.8 3.5-3.8',
  offline: 'M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M3 13 13 3',
  staging: 'M8 2.5v7M5 6.8l3 3 3-3M3 13h10',
  staged: 'M2.5 5.5 8 2.8l5.5 2.7v5L8 13.2l-5.5-2.7zM2.5 5.5 8 8.2l5.5-2.7M8 8.2v5',
  trial: 'M4.5 2.5h7M4.5 13.5h7M5.2 2.5c0 3 2.8 3.8 2.8 5.5s-2.8 2.5-2.8 5.5M10.8 2.5c0 3-2.8 3.8-2.8 5.5s2.8 2.5 2.8 5.5',
  reverted: 'M5.2 3 2.6 5.6l2.6 2.6M2.8 5.6h6.4a3.8 3.8 0 0 1 0 7.6H6',
  problem: 'M8 2.6 14 13H2zM8 6.5v3M8 11.2v.1',
  failed: 'M8 2.3a5.7 5.7 0 1 0 0 11.4A5.7 5.7 0 0 0 8 2.3M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4',
  empty: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11',
  unknown: 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.5M8 12v.1',
  paused: 'M5.5 3.5v9M10.5 3.5v9',
  running: 'M5 3.2v9.6L12.6 8z',
  skipped: 'M3.5 4v8L9 8zM12 4v8',
  previous: 'M8 2.3a5.7 5.7 0 1 0 0 11.4A5.7 5.7 0 0 0 8 2.3M8 4.8V8l2.2 1.5',
  done: 'm3.5 8.5 3 3 6-7',
  wall: 'M2.5 3h4.6v4.2H2.5zM8.9 3h4.6v4.2H8.9zM2.5 8.8h4.6V13H2.5zM8.9 8.8h4.6V13H8.9z',
  fleet: 'M5.5 4h8M5.5 8h8M5.5 12h8M2.6 4h.1M2.6 8h.1M2.6 12h.1',
  versions: 'M3 13V9M8 13V3M13 13V6.5',
  rollouts: 'M2.5 4h3v3h-3zM2.5 5.5M8 5.5h5.5M2.5 9.5h6v3h-6zM11 11h2.5',
  releases: 'M2.5 5.5 8 2.8l5.5 2.7v5L8 13.2l-5.5-2.7zM2.5 5.5 8 8.2l5.5-2.7M8 8.2v5',
  audit: 'M4 2.5h8v11H4zM6.2 5.5h3.6M6.2 8h3.6M6.2 10.5h2',
  settings: 'M2.5 5h6M11.5 5h2M2.5 11h2M7.5 11h6M10 3.4v3.2M6 9.4v3.2',
  search: 'M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8M10 10l3.5 3.5',
  close: 'M4 4l8 8M12 4l-8 8',
  help: 'M8 2.3a5.7 5.7 0 1 0 0 11.4A5.7 5.7 0 0 0 8 2.3M6.4 6.4a1.6 1.6 0 1 1 2.4 1.4c-.5.3-.8.6-.8 1.1M8 10.9v.1',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  next: 'm6 3.5 4.5 4.5L6 12.5',
  upload: 'M8 10.5v-7M5 6.2l3-3 3 3M3 13h10',
};

const same: Record<string, string> = {
  permanent: 'ready', completed: 'ready', passed: 'ready', holds: 'ready', live: 'ready',
  activating: 'trial', soaking: 'trial', connecting: 'trial',
  reverting: 'reverted', 'rolling-back': 'reverted',
  halted: 'problem', lost: 'problem', refused: 'failed', broken: 'problem', aborted: 'failed',
  queued: 'empty', waiting: 'empty', draft: 'empty', approved: 'done', open: 'running', writing: 'staging', starting: 'trial',
};

export function Icon({ name }: { name: string }) {
  const d = shapes[name] ?? shapes[same[name] ?? 'unknown'];
  return (
    <svg class="i" viewBox="0 0 16 16" aria-hidden="true">
      <path d={d} />
    </svg>
  );
}

// Tones: which colour a state's sign and word have.
const tones: Record<string, string> = {
  ready: 'good', permanent: 'good', completed: 'good', passed: 'good', done: 'good', holds: 'good', live: 'good',
  staged: 'plain', approved: 'plain',
  staging: 'wait', trial: 'wait', activating: 'wait', soaking: 'wait', open: 'wait', running: 'wait', writing: 'wait',
  reverting: 'wait', 'rolling-back': 'wait', paused: 'wait', connecting: 'wait',
  problem: 'bad', failed: 'bad', reverted: 'bad', halted: 'bad', broken: 'bad', lost: 'bad', aborted: 'bad', refused: 'bad',
};

export function State({ state, word }: { state: string; word?: string }) {
  return (
    <span class={`state tone-${tones[state] ?? 'soft'}`} data-state={state}>
      <Icon name={state} />
      <span>{word ?? state.replace('-', ' ')}</span>
    </span>
  );
}
