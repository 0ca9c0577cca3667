// The patch map. Gradio runs this script once, with element, trigger, props, upload and watch.
// This part knows what is shown: the map that the server sent, the budget, the mode, what was added and removed by hand.
// The order of the patches is nested, so every budget is drawn here from one answer, without the server.

const find = (selector) => element.querySelector(selector);
const figure = find(".map");
const canvas = find("canvas");
const MODES = {
  kept: ["Kept", "The patches that the pruned answer is given are bright"],
  order: ["Order", "How early each patch was chosen"],
  energy: ["Energy", "What each patch added that the ones before it did not say, when it was chosen"],
  relevance: ["Relevance", "How near each patch lies to a noun of the question (cosine)"],
};

let map = null; // what the server sent, see app/patch_map.py
let rank = []; // of each patch: its place in the order
let cut = false; // whether it is cropped()
let mode = "kept";
let noun = null; // whose relevance is shown; null is the largest of all
let view = 0; // among views()
let inView = []; // of each patch: whether that view shows it
let cursor = null; // the patch under the pointer, or chosen by the arrow keys
let toggled = new Set(); // patches added to or removed from the choice by hand

// A map that stands in a budget of its own is moved by that, and takes no other picture.
const own = element.closest(".own-budget");
const slider = () => (own ?? document.querySelector("#budget"))?.querySelector("input[type=range]");
const clamp = (n, low, high) => Math.max(low, Math.min(high, n));

function budget() {
  const chosen = slider() ? Number(slider().value) : map ? map.kept.length : 0;
  return map ? clamp(chosen, 1, map.order.length) : chosen;
}

// Whether the slider has been moved since the map came.
let touched = false;

// Whether what is shown is what the answer was given: elsewhere the order tells what another budget would keep.
function asAnswered() {
  return !map.nested || (map.by_hand ? !touched : budget() === map.kept.length);
}

function chosen() {
  return asAnswered() ? map.kept : map.order.slice(0, budget());
}

// The kept patches as they are shown, in the order of selection; those added by hand come last.
function kept() {
  const patches = chosen().filter((patch) => !toggled.has(patch));
  const before = new Set(chosen());
  return [...patches, ...[...toggled].filter((patch) => !before.has(patch))];
}

// For each patch the one that stands for it, or null where none does; null where kept tokens stand for themselves only.
function owners() {
  if (!map || !map.owner || toggled.size) return null;
  if (asAnswered()) return map.owner;
  if (!map.ranks) return null;
  const k = budget();
  return map.ranks.map((ranks) => {
    // A rank r of one that is nearest but not alike is written -1 - r: nobody stands for the patch.
    let last = ranks[0];
    for (const r of ranks) if ((r < 0 ? -1 - r : r) < k) last = r;
    return last < 0 ? null : map.order[last];
  });
}

function masses(owner) {
  const mass = new Map();
  for (const patch of owner) if (patch !== null) mass.set(patch, (mass.get(patch) ?? 0) + 1);
  return mass;
}

// Whether the processor cut something off before the model saw the picture.
function cropped() {
  const [width, height] = map.size;
  const edges = [0, 1, 2, 3].map((i) => map.boxes.map((b) => b[i]));
  return (
    Math.min(...edges[0]) > 1 ||
    Math.min(...edges[1]) > 1 ||
    Math.max(...edges[2]) < width - 1 ||
    Math.max(...edges[3]) < height - 1
  );
}

// Tile 0 is the whole picture, and the others, which do not overlap, show it in more detail.
function views() {
  const kinds = [...new Set(map.places.map(([tile]) => Math.min(tile, 1)))].sort();
  return kinds.map((kind) => ({ kind, name: kind ? "Detail" : "Whole" }));
}

function turnTo(which) {
  const all = views();
  view = clamp(which, 0, all.length - 1);
  inView = map.places.map(([tile]) => Math.min(tile, 1) === all[view].kind);
}

const shownHere = (patch) => inView[patch];

// What is measured of each patch in a mode: a number, or null where there is none.
function measured() {
  if (mode === "order") return map.order.map((_, patch) => rank[patch]);
  if (mode === "energy") return map.order.map((_, patch) => map.energy[rank[patch]]);
  const names = Object.keys(map.relevance);
  const of = noun && map.relevance[noun] ? [noun] : names;
  return map.order.map((_, patch) => Math.max(...of.map((name) => map.relevance[name][patch])));
}

function available(name) {
  if (name === "energy") return Boolean(map.energy);
  if (name === "order") return map.nested;
  if (name === "relevance") return Object.keys(map.relevance).length > 0;
  return true;
}

function show() {
  const value = props.value;
  map = value && value.src ? value : null;
  figure.hidden = find(".tools").hidden = find(".foot").hidden = !map;
  toggled = new Set();
  touched = false;
  cursor = null;
  if (map) {
    rank = new Array(map.order.length);
    map.order.forEach((patch, place) => (rank[patch] = place));
    if (!available(mode)) mode = "kept";
    if (noun && !map.relevance[noun]) noun = null;
    turnTo(view);
    cut = cropped();
    const image = new Image();
    image.onload = () => {
      picture = image;
      fit();
    };
    image.src = map.src;
  }
  words();
}
