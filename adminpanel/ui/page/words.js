// What devices report, in words for people.

const REASONS = {
  exit: 'its app ended',
  signal: 'its app was killed by a signal',
  oom: 'its app ran out of memory',
  eof: 'its stream ended',
  stall: 'its pictures stopped',
  watchdog: 'its watchdog found no frames',
  deadline: 'nobody gave it the greenlight in time',
  'start-timeout': 'its app was not ready in time',
  operator: 'an operator took it back',
  panel: 'it was taken back from the panel',
  power: 'the device lost power or was restarted during the trial',
};

export function reason(code) {
  if (!code) return '';
  if (code.startsWith('invariant:')) return 'it broke the invariant ' + code.slice('invariant:'.length);
  return REASONS[code] || code;
}

// outcome is one update in a sentence.
export function outcome(r) {
  const from = r.from || 'nothing';
  switch (r.outcome) {
    case 'permanent': return r.from ? `${r.to} took over from ${from} and is permanent` : `${r.to} is permanent`;
    case 'reverted': return `${r.to} was reverted to ${from}${r.reason ? ': ' + reason(r.reason) : ''}`;
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

export function when(time) {
  const date = new Date(time);
  if (!(date.getTime() > 0)) return '';
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return date.toDateString() === new Date().toDateString() ? clock : date.toLocaleDateString() + ' ' + clock;
}
