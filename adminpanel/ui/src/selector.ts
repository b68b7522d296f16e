// The selector's text, taken apart as far as a page needs it: chips that can be taken
// away. What it means is the panel's to say.

export function terms(text: string): string[] {
  return text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
}

// without is the selector with one term less.
export function without(text: string, term: string): string {
  return terms(text).filter((t) => t !== term).join(' ');
}

export function toggled(text: string, term: string): string {
  return terms(text).includes(term) ? without(text, term) : [...terms(text), term].join(' ');
}

// fault finds the column in the panel's word on a selector.
export function fault(message: string): { column: number; text: string } {
  const m = /column (\d+): (.*)/s.exec(message);
  return m ? { column: Number(m[1]), text: m[2]! } : { column: 0, text: message };
}

export const fields: [string, string][] = [
  ['state:trial', 'on trial now'],
  ['version<1.4', 'runs something older'],
  ['site:north*', 'of these sites'],
  ['tag:lab,door', 'with one of these tags'],
  ['seen>10m', 'not heard for ten minutes'],
  ['-online:yes', 'all that are away'],
];
