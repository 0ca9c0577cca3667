// The words around the drawing: buttons, the question with its nouns, the readout, the table. Text only, never markup.

const TIMES = "\u00d7";

function make(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  return made;
}

function words() {
  readout();
  automatic();
  if (!map) {
    for (const part of [".legend", ".asked", ".edit"]) find(part).hidden = true;
    find(".hint").textContent = "";
    find(".about").hidden = true;
    return;
  }
  buttons(find(".modes"), Object.entries(MODES), mode, (name) => (mode = name), available);
  const all = views();
  find(".views").hidden = all.length < 2;
  const named = all.map(({ name }, i) => [String(i), [name, `${name} of the picture`]]);
  buttons(find(".views"), named, String(view), (name) => turnTo(Number(name)), () => true);
  legend();
  asked();
  about();
  find(".edit").hidden = !toggled.size;
  if (find(".table").open) table();
}

function buttons(parent, entries, current, choose, possible) {
  parent.replaceChildren(
    ...entries.map(([name, [text, title]]) => {
      const button = make("button", text, { type: "button", title, disabled: !possible(name) });
      button.setAttribute("aria-pressed", String(name === current));
      button.dataset.name = name;
      button.addEventListener("click", () => {
        choose(name);
        words();
        fit();
        parent.querySelector(`[data-name="${name}"]`).focus();
      });
      return button;
    }),
  );
}

function legend() {
  const bar = find(".legend");
  bar.hidden = mode === "kept";
  if (bar.hidden) return;
  const { ends } = ramping();
  const [low, high] = bar.querySelectorAll("span");
  [low.textContent, high.textContent] = ends;
}

// The question; its nouns are buttons that show the relevance of each patch to them.
function asked() {
  const line = find(".asked");
  line.hidden = !Object.keys(map.relevance).length;
  if (line.hidden) return;
  let rest = map.question;
  const parts = [];
  for (const name of Object.keys(map.relevance)) {
    const at = rest.indexOf(name);
    if (at < 0) continue;
    parts.push(rest.slice(0, at), nounButton(name));
    rest = rest.slice(at + name.length);
  }
  line.replaceChildren(...parts, rest);
}

function nounButton(name) {
  const on = mode === "relevance" && noun === name;
  const button = make("button", name, { type: "button", title: `How near each patch lies to "${name}"` });
  button.setAttribute("aria-pressed", String(on));
  button.addEventListener("click", () => {
    [mode, noun] = on ? ["kept", null] : ["relevance", name];
    words();
    draw();
    const again = [...find(".asked").querySelectorAll("button")].find((other) => other.textContent === name);
    again.focus();
  });
  return button;
}

function readout() {
  const range = slider();
  if (!range) return;
  const total = map ? map.order.length : Number(range.max);
  const count = map ? kept().length : budget();
  const ratio = total / Math.max(1, count);
  const times = ratio < 10 ? ratio.toFixed(1) : Math.round(ratio);
  const parts = [
    make("b", count),
    ` of ${total} tokens`,
    make("span", count === total ? "all kept" : `${times}${TIMES} fewer`),
  ];
  if (map?.captured && map.nested && !toggled.size && !(map.by_hand && asAnswered())) {
    parts.push(make("span", `${(100 * map.captured[count - 1]).toFixed(1)} % of energy`));
  }
  find(".readout").replaceChildren(...parts);
  hints(count, total);
}

// The budget that holds 90 % of the energy: a button, and a mark on the slider, whose thumb is 16 pixels wide.
function automatic() {
  const range = slider();
  if (!range) return;
  const known = Boolean(map?.auto && map.nested);
  const [button, holder] = [find(".auto"), document.querySelector("#budget")];
  button.hidden = !known;
  holder.classList.toggle("marked", known);
  if (!known) return;
  button.textContent = `auto: ${map.auto}`;
  button.title = `As few tokens as hold 90 % of the energy: ${map.auto}`;
  const along = ((map.auto - 1) / (map.order.length - 1)) * (range.offsetWidth - 16);
  holder.style.setProperty("--auto", `${range.offsetLeft + 8 + along}px`);
}

function hints(count, total) {
  const notes = [];
  if (map && !map.nested && budget() !== map.kept.length) {
    notes.push("What this method keeps at another budget is known only by asking.");
  } else if (map && (!asAnswered() || toggled.size)) {
    notes.push(`The answer used ${map.kept.length}. Ask again to answer with ${count}.`);
  }
  if (map && cut) notes.push("Hatched parts were cut off before the model saw the picture.");
  find(".hint").textContent = notes.join(" ");
  const label = map ? `The picture with its ${count} kept patches of ${total}. Arrow keys move, space adds or removes.` : "";
  canvas.setAttribute("aria-label", label);
}

// Rank, energy, relevance, mass and box of a patch, as names and texts.
function facts(patch, owner) {
  const found = [];
  if (map.nested) found.push(["Rank", `${rank[patch] + 1} of ${map.order.length}`]);
  if (map.energy) {
    const left = map.energy[rank[patch]];
    found.push(["Residual energy", Number.isFinite(left) ? short(left) : "protected"]);
  }
  for (const [name, values] of Object.entries(map.relevance)) found.push([`Near "${name}"`, values[patch].toFixed(2)]);
  if (owner && owner[patch] === patch) found.push(["Stands for", String(masses(owner).get(patch))]);
  const [x0, y0, x1, y1] = map.boxes[patch].map(Math.round);
  found.push(["Box", `${x0}, ${y0} to ${x1}, ${y1} px`]);
  return found;
}

function about() {
  const line = find(".about");
  line.hidden = !map || cursor === null;
  if (line.hidden) return;
  const middle = (frame[1] + frame[3]) / 2;
  line.classList.toggle("above", map.boxes[cursor][1] > middle);
  const owner = owners();
  const state = kept().includes(cursor) ? "Kept" : "Dropped";
  const parts = facts(cursor, owner).flatMap(([name, text]) => [make("span", name), " ", make("b", text), " "]);
  line.replaceChildren(make("b", state), " ", ...parts);
}

function table() {
  const owner = owners();
  const rows = kept().map((patch) => {
    const cells = [["Patch", `row ${map.places[patch][1] + 1}, column ${map.places[patch][2] + 1}`]];
    if (map.places[patch][0]) cells[0][1] += `, tile ${map.places[patch][0]}`;
    return [...cells, ...facts(patch, owner)];
  });
  const grid = document.createElement("table");
  const head = grid.createTHead().insertRow();
  for (const [name] of rows[0] ?? []) head.append(make("th", name, { scope: "col" }));
  const body = grid.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [, text] of row) line.append(make("td", text));
  }
  find(".table div").replaceChildren(grid);
}
