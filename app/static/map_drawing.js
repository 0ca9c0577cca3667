// The drawing: the picture, its kept patches, and the colours of the modes.

const OUTLINE = 1; // CSS pixels
const NUMBERED = 21; // CSS pixels along a patch from which on numbers are legible in it
// Cividis, which looks the same to people who see colours differently.
const CIVIDIS = [[0, 34, 78], [50, 66, 111], [88, 99, 112], [124, 123, 120], [162, 150, 114], [206, 182, 92], [254, 232, 56]];

let picture = null; // its Image
let bright = null; // the picture as kept patches look, at the canvas's size
let dimmed = null; // and as dropped ones do
let frame = null; // left, top, right, bottom in pixels of the picture: it, and what of the patches lies outside
let rimColour = ""; // read once: asking for a style while the page changes lays all of it out again
let scale = 1; // screen pixels a pixel of the picture

// Size the canvas to the picture as large as the stage allows, in the screen's own pixels.
function fit() {
  if (!map || !picture || !figure.clientWidth) return;
  const [width, height] = map.size;
  const boxes = map.boxes.filter((_, patch) => shownHere(patch));
  frame = [
    Math.min(0, ...boxes.map((b) => b[0])),
    Math.min(0, ...boxes.map((b) => b[1])),
    Math.max(width, ...boxes.map((b) => b[2])),
    Math.max(height, ...boxes.map((b) => b[3])),
  ];
  const [wide, high] = [frame[2] - frame[0], frame[3] - frame[1]];
  const css = Math.min(figure.clientWidth / wide, figure.clientHeight / high);
  canvas.style.width = `${wide * css}px`;
  canvas.style.height = `${high * css}px`;
  canvas.width = Math.max(1, Math.round(wide * css * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(high * css * devicePixelRatio));
  scale = canvas.width / wide;
  rimColour = getComputedStyle(element).getPropertyValue("--pruned");
  bright = layer(paint);
  dimmed = layer(dim);
  draw();
}

// A canvas of the same size, painted once and copied from as often as anything moves.
function layer(painting) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [canvas.width, canvas.height];
  painting(made.getContext("2d"));
  return made;
}

// Box edges on whole pixels, so that neighbours share them and no seam shows.
function box(patch) {
  const [x0, y0, x1, y1] = map.boxes[patch];
  const [left, top] = [Math.round((x0 - frame[0]) * scale), Math.round((y0 - frame[1]) * scale)];
  return [left, top, Math.round((x1 - frame[0]) * scale) - left, Math.round((y1 - frame[1]) * scale) - top];
}

function paint(context) {
  const [width, height] = map.size;
  context.drawImage(picture, -frame[0] * scale, -frame[1] * scale, width * scale, height * scale);
}

// Dropped patches: grey and dark. What the processor cropped away, and the model never saw: hatched as well.
function dim(c) {
  const { width, height } = canvas;
  paint(c);
  c.globalCompositeOperation = "saturation";
  c.fillStyle = "#808080";
  c.fillRect(0, 0, width, height);
  c.globalCompositeOperation = "source-over";
  c.fillStyle = "rgba(14, 18, 26, 0.72)";
  c.fillRect(0, 0, width, height);
  const unseen = new Path2D();
  unseen.rect(0, 0, width, height);
  map.boxes.forEach((_, patch) => shownHere(patch) && unseen.rect(...box(patch)));
  c.clip(unseen, "evenodd");
  c.strokeStyle = "rgba(255, 255, 255, 0.25)";
  c.lineWidth = devicePixelRatio;
  for (let x = -height; x < width; x += 9 * devicePixelRatio) {
    c.beginPath();
    c.moveTo(x, height);
    c.lineTo(x + height, 0);
    c.stroke();
  }
}

function draw() {
  if (!map || !dimmed) return;
  const c = canvas.getContext("2d");
  const patches = kept().filter(shownHere);
  c.drawImage(dimmed, 0, 0);
  if (mode === "kept") brighten(c, patches);
  else colour(c, patches);
  const owner = owners();
  if (owner && mode === "kept") weigh(c, patches, masses(owner));
  if (cursor !== null && shownHere(cursor)) point(c, owner);
}

function rims(c, patches) {
  c.fillStyle = rimColour;
  const rim = OUTLINE * devicePixelRatio;
  for (const [x, y, w, h] of patches.map(box)) c.fillRect(x - rim, y - rim, w + 2 * rim, h + 2 * rim);
}

function brighten(c, patches) {
  rims(c, patches);
  for (const patch of patches) {
    const [x, y, w, h] = box(patch);
    if (w && h) c.drawImage(bright, x, y, w, h, x, y, w, h);
  }
}

function ramp(t) {
  const at = clamp(t, 0, 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  const mixed = CIVIDIS[low].map((v, i) => Math.round(v + (CIVIDIS[low + 1][i] - v) * (at - low)));
  return `rgb(${mixed.join(",")})`;
}

// From a measured number to a place on the ramp, and the ends of the legend.
function ramping() {
  const values = measured();
  if (mode === "order") {
    const last = Math.max(1, kept().length - 1);
    return { values, at: (v) => 1 - Math.min(v, last) / last, ends: [`${last + 1}.`, "1."] };
  }
  const log = mode === "energy"; // residual energies fall over several powers of ten
  const finite = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const f = log ? Math.log : (v) => v;
  const at = (v) => (log && v <= 0 ? 0 : high > low ? (f(Math.min(v, high)) - f(low)) / (f(high) - f(low)) : 1);
  return { values, at, ends: [short(low), short(high)] };
}

const short = (n) => (Math.abs(n) >= 1000 || (n && Math.abs(n) < 0.01) ? n.toExponential(0) : String(Number(n.toPrecision(2))));

function colour(c, patches) {
  const { values, at } = ramping();
  const inside = new Set(patches);
  rims(c, patches);
  for (let patch = 0; patch < map.boxes.length; patch++) {
    if (!shownHere(patch)) continue;
    c.globalAlpha = inside.has(patch) ? 1 : mode === "order" ? 0 : 0.62;
    c.fillStyle = ramp(at(values[patch]));
    c.fillRect(...box(patch));
  }
  c.globalAlpha = 1;
  if (mode === "order") number(c, patches, (patch) => rank[patch] + 1, (patch) => at(values[patch]) > 0.6);
}

function number(c, patches, value, onLight) {
  for (const patch of patches) {
    const [x, y, w, h] = box(patch);
    if (w < NUMBERED * devicePixelRatio) continue;
    c.font = `600 ${Math.round(w * 0.4)}px ui-sans-serif, system-ui, sans-serif`;
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.fillStyle = onLight(patch) ? "#101317" : "#ffffff";
    c.fillText(value(patch), x + w / 2, y + h / 2);
  }
}

// A kept patch's mass: a disc whose area grows with it, none where it stands for itself alone.
function weigh(c, patches, mass) {
  const most = Math.max(2, ...mass.values());
  for (const patch of patches) {
    const count = mass.get(patch) ?? 1;
    if (count < 2) continue;
    const [x, y, w, h] = box(patch);
    c.beginPath();
    c.arc(x + w / 2, y + h / 2, Math.max(1.5 * devicePixelRatio, 0.38 * w * Math.sqrt(count / most)), 0, 7);
    c.fillStyle = "#ffffff";
    c.fill();
    c.lineWidth = devicePixelRatio;
    c.strokeStyle = "#7a3500";
    c.stroke();
  }
}

// The patch that is looked at, and the ones that it stands for.
function point(c, owner) {
  const head = owner && owner[cursor];
  if (head !== null) {
    const group = new Path2D();
    owner.forEach((other, patch) => other === head && shownHere(patch) && group.rect(...box(patch)));
    c.save();
    c.clip(group);
    c.fillStyle = "rgba(255, 255, 255, 0.35)";
    c.fillRect(0, 0, canvas.width, canvas.height);
    c.restore();
    if (shownHere(head)) outline(c, head, "#ffffff", 2);
  }
  outline(c, cursor, "#101317", 4);
  outline(c, cursor, "#ffffff", 2);
}

function outline(c, patch, style, width) {
  const [x, y, w, h] = box(patch);
  c.strokeStyle = style;
  c.lineWidth = width * devicePixelRatio;
  c.strokeRect(x, y, w, h);
}
