// The page: one card a device, fed by the panel's events.

import { parts, sign, text } from './dom.js';
import { Card } from './card.js';
import { Events } from './events.js';
import { Releases } from './releases.js';

const TICK = 100; // ms

const el = parts(document);
const cards = new Map(); // by device
const releases = new Releases(el, (id) => { for (const card of cards.values()) card.want(id); });
let offered = [];

function showDevice(device) {
  const card = cards.get(device.id);
  if (card) card.show(device);
  else addCard(device);
  count();
}

// addCard puts a new card in its place by name. Cards that exist stay where they
// are: a video that is moved in the page stops.
function addCard(device) {
  const card = new Card(device, (words) => text(el.news, words));
  const next = [...cards.keys()].filter((id) => id > device.id).sort()[0];
  el.cards.insertBefore(card.root, next === undefined ? null : cards.get(next).root);
  cards.set(device.id, card);
  card.offer(offered);
}

function offer(list) {
  offered = list;
  releases.show(list);
  for (const card of cards.values()) card.offer(list);
}

function count() {
  const all = cards.size;
  const here = [...cards.values()].filter((card) => card.online).length;
  text(el.count, all ? `${all} ${all === 1 ? 'device' : 'devices'}, ${here} online` : '');
  el['no-devices'].hidden = all > 0;
}

new Events({
  live: (yes) => sign(el.live, yes ? 'live' : 'lost', yes ? 'online' : 'warn', yes ? 'live' : 'no connection to the panel'),
  snapshot: (all) => {
    for (const device of all.devices) showDevice(device);
    offer(all.releases);
    count();
  },
  device: showDevice,
  releases: offer,
});

setInterval(() => {
  const now = performance.now();
  for (const card of cards.values()) card.tick(now);
}, TICK);

// For tests, to read: the figures of each device's tile.
window.slipstream = Object.freeze({
  get tiles() { return Object.fromEntries([...cards].map(([id, card]) => [id, card.tile.figures()])); },
});
