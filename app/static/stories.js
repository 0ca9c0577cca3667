// The deck of stories. Gradio runs this once, with element, trigger, props, upload and watch; patchMap is defined above.

const deck = element.querySelector(".deck");
const within = (selector) => deck.querySelector(selector);
const room = element.closest("#stories") ?? element; // the deck and the live answers below it
const STEP = 90; // milliseconds a token while a subspace grows

let at = 0; // the story that is shown
let playing = null; // the timer of a growing subspace
const stories = () => (Array.isArray(props.value) ? props.value : []);

// Each place for a picture holds one patch map for ever, which is given the map of the story.
const places = [...deck.querySelectorAll(".run")].map((place) => {
  const given = { value: null };
  let changed = () => {};
  const map = patchMap(place.querySelector(".patch-map"), given, () => {}, () => new Promise(() => {}), (_, f) => (changed = f));
  const range = place.querySelector(".own-budget input");
  return {
    place,
    range,
    show(run, mode, tokens) {
      range.max = run.map.order.length;
      range.value = tokens;
      given.value = run.map;
      map.turn(mode);
      changed();
    },
  };
});

function show() {
  const story = stories()[at];
  if (!story && Array.isArray(props.value)) within(".waiting").textContent = "There are no stories for this version.";
  if (!story) return;
  deck.classList.add("ready");
  pause();
  within("h2").textContent = story.title;
  within(".number").textContent = `${at + 1} of ${stories().length}`;
  within(".lead").textContent = story.lead;
  within(".reason").textContent = story.reason;
  within(".from").innerHTML = story.origin;
  deck.classList.toggle("figured", story.figures);
  deck.classList.toggle("growing", story.grows);
  deck.classList.toggle("paired", story.runs.length > 1);
  within(".play").hidden = within(".growth").hidden = !story.grows;
  places.forEach((slot, i) => {
    const run = story.runs[i];
    slot.place.hidden = !run;
    if (!run) return;
    slot.place.querySelector(".label").textContent = run.label;
    slot.place.querySelector(".question").textContent = run.question;
    slot.place.querySelector(".sides").replaceChildren(...["full", "pruned"].map((side) => said(run, side)));
    slot.place.querySelector(".tiles").innerHTML = run.verdict;
    slot.show(run, story.mode, run.map.kept.length);
  });
  if (story.grows) grown();
  dots();
  within(".back").disabled = at === 0;
  within(".next").disabled = at === stories().length - 1;
  trigger("clear"); // live answers to another story's questions
}

// An answer with its figures as the server wrote them, every text escaped, and whether it is right.
function said(run, side) {
  const box = document.createElement("div");
  box.innerHTML = run.panels[side];
  const mark = document.createElement("p");
  mark.className = `mark ${run.right[side] ? "right" : "wrong"}`;
  mark.textContent = run.right[side] ? "right" : `wrong: ${run.truth}`;
  box.append(mark);
  return box;
}

function dots() {
  within(".dots").replaceChildren(
    ...stories().map((story, i) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", title: story.title });
      button.setAttribute("aria-label", `${i + 1}: ${story.title}`);
      if (i === at) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => go(i));
      item.append(button);
      return item;
    }),
  );
}

function go(to) {
  const last = stories().length - 1;
  const next = Math.max(0, Math.min(last, to));
  if (next === at) return;
  at = next;
  show();
}

// The curve of the energy, and how far along it the map stands.
function grown() {
  const { map } = stories()[at].runs[0];
  const most = map.kept.length;
  const count = Math.min(most, Number(places[0].range.value));
  const x = (k) => (300 * (k - 1)) / Math.max(1, most - 1);
  const y = (k) => 119 - 114 * map.captured[k - 1];
  const line = Array.from({ length: most }, (_, i) => `${x(i + 1).toFixed(1)},${y(i + 1).toFixed(1)}`);
  within(".growth polyline").setAttribute("points", line.join(" "));
  within(".growth circle").setAttribute("cx", x(count));
  within(".growth circle").setAttribute("cy", y(count));
  const share = (100 * map.captured[count - 1]).toFixed(0);
  within(".growth p").textContent = `${count} ${count === 1 ? "token holds" : "tokens hold"} ${share} % of the energy`;
}

function grow(tokens) {
  const { range } = places[0];
  range.value = tokens;
  range.dispatchEvent(new Event("input", { bubbles: true }));
}

function play() {
  const most = stories()[at].runs[0].map.kept.length;
  let count = Number(places[0].range.value) >= most ? 1 : Number(places[0].range.value);
  within(".play").textContent = "Pause";
  grow(count);
  playing = setInterval(() => {
    count += 1;
    if (count <= most) grow(count);
    if (count >= most) pause();
  }, STEP);
}

function pause() {
  clearInterval(playing);
  playing = null;
  within(".play").textContent = "Play";
}

const runLive = () => stories()[at] && trigger("apply", { story: stories()[at].name });
const live = room.querySelector("#live");
// What is answered live grows below the deck, and is followed there.
if (live) new ResizeObserver(() => live.querySelector(".origin") && live.scrollIntoView({ block: "end" })).observe(live);
const presenting = () => room.classList.contains("presenting");

// Full screen where the browser lets us; the deck fills the window either way.
function present(on) {
  room.classList.toggle("presenting", on);
  within(".full-screen").textContent = on ? "Leave" : "Full screen";
  if (on) room.requestFullscreen?.().catch(() => {});
  else if (document.fullscreenElement) document.exitFullscreen();
  if (on) deck.focus();
  requestAnimationFrame(show);
}

within(".back").addEventListener("click", () => go(at - 1));
within(".next").addEventListener("click", () => go(at + 1));
within(".play").addEventListener("click", () => (playing ? pause() : play()));
within(".run-live").addEventListener("click", runLive);
within(".full-screen").addEventListener("click", () => present(!presenting()));
deck.addEventListener("present", () => present(true));
deck.addEventListener("input", () => stories()[at]?.grows && grown());
document.addEventListener("fullscreenchange", () => !document.fullscreenElement && presenting() && present(false));

const KEYS = {
  ArrowRight: () => go(at + 1),
  PageDown: () => go(at + 1),
  ArrowLeft: () => go(at - 1),
  PageUp: () => go(at - 1),
  Home: () => go(0),
  End: () => go(stories().length - 1),
  " ": () => stories()[at]?.grows && (playing ? pause() : play()),
  Escape: () => presenting() && present(false),
};
// What a key does where it was pressed comes first: in a field all that is typed, on a map and a slider the arrows, on a
// button the space bar. The keys of a presenter's remote belong to the deck wherever the focus is.
const REMOTE = ["PageDown", "PageUp", "Escape"];
function taken({ key, target, ctrlKey, altKey, metaKey }) {
  if (ctrlKey || altKey || metaKey) return true; // the browser's own
  if (target.closest("textarea, select, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])")) return key !== "Escape";
  if (REMOTE.includes(key)) return false;
  return Boolean(target.closest(key === " " ? "canvas, input, a, summary, button:not(.dots button)" : "canvas, input"));
}
document.addEventListener("keydown", (event) => {
  const here = presenting() || document.activeElement === deck;
  if (!here || !KEYS[event.key] || taken(event)) return;
  event.preventDefault();
  KEYS[event.key]();
});

watch("value", show);
// The stories are asked for when the deck is first seen.
new IntersectionObserver((seen, observer) => {
  if (!seen.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  if (!stories().length) trigger("select");
}).observe(deck);
