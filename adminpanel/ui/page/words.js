// What devices report, in words for people.

// One phrase for each cause that agent and forwarder know; a test compares them.
const REASONS = {
  exit: 'its app ended',
  eof: 'its app closed the stream',
  stall: 'its pictures stopped',
  media: 'its stream was not the one its package declares',
  start: 'its app did not start, or was not on screen in time',
  oom: 'its app came to its limit of memory',
  watchdog: 'its app no longer answered the watchdog',
  deadline: 'nobody gave it the greenlight in time',
  lease: 'the agent was gone just before it became permanent',
  operator: 'an operator took it back',
  power: 'the device lost power or was restarted during the trial',
  boot: 'the new system did not start',
  rehearsal: 'it was a rehearsal, and all of it went as it must',
  agent: 'the agent was restarted and the trial was gone',
  forwarder: 'the program that carries the pictures was restarted',
  record: 'the device could not write down that it is permanent',
  damaged: 'its slot did not hold what was staged',
  orders: 'the agent no longer named this trial',
};

export function reason(code) {
  if (!code) return '';
  if (code.startsWith('invariant:')) return 'it broke the invariant ' + code.slice('invariant:'.length);
  return REASONS[code] || code;
}

// outcome is one update in a sentence.
export function outcome(r) {
  const why = r.reason ? ': ' + reason(r.reason) : '';
  switch (r.outcome) {
    case 'permanent': return r.from ? `${r.to} took over from ${r.from} and is permanent` : `${r.to} is permanent`;
    case 'reverted': return r.from ? `${r.to} was reverted to ${r.from}${why}` : `${r.to} was taken back${why}; nothing was running before`;
    case 'refused': return `${r.to || 'A package'} was refused`;
    default: return `${r.to}: ${r.outcome}`;
  }
}

// cause says more about an update: the device's own sentence and how fast it was.
export function cause(r) {
  const all = [];
  if (r.detail) all.push(sentence(r.detail));
  const ms = r.proof && r.proof.detectToFirstMs;
  if (r.outcome === 'reverted' && ms > 0) all.push(`The old pictures were back ${duration(ms)} after it was noticed.`);
  return all.join(' ');
}

export function sentence(s) {
  const trimmed = s.trim();
  if (!trimmed) return '';
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? '' : '.');
}

export function duration(ms) {
  if (ms < 10) return ms.toFixed(1) + ' ms';
  if (ms < 1000) return Math.round(ms) + ' ms';
  if (ms < 10000) return (ms / 1000).toFixed(1) + ' s';
  if (ms < 90000) return Math.round(ms / 1000) + ' s';
  return `${Math.floor(ms / 60000)} min ${Math.round(ms / 1000) % 60} s`;
}

// seconds is for what counts down: whole ones, the last one included.
export function seconds(ms) {
  const s = Math.ceil(ms / 1000);
  return s < 90 ? s + ' s' : `${Math.floor(s / 60)} min ${s % 60} s`;
}

export function bytes(n) {
  for (const unit of ['B', 'KB', 'MB']) {
    if (n < 1000) return (n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)) + ' ' + unit;
    n /= 1000;
  }
  return n.toFixed(1) + ' GB';
}

// ago is how old a word is: one unit is enough.
export function ago(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return s + ' s ago';
  if (s < 3600) return Math.floor(s / 60) + ' min ago';
  if (s < 48 * 3600) return Math.floor(s / 3600) + ' h ago';
  return Math.floor(s / 86400) + ' days ago';
}

// date is for what is kept: always with its day.
export function date(time) {
  const t = new Date(time);
  return t.getTime() > 0 ? t.toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' }) : '';
}

export function when(time) {
  const date = new Date(time);
  if (!(date.getTime() > 0)) return '';
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return date.toDateString() === new Date().toDateString() ? clock : date.toLocaleDateString() + ' ' + clock;
}
