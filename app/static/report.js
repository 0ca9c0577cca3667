// In a saved report: what Gradio gives the patch map on the page, and what it says where nothing can be asked.
// The parts of the map follow in the same function; a function that is given here last takes the place of theirs.

const record = JSON.parse(document.querySelector("#record").textContent);
const element = document.querySelector("#patch-map");
const props = { value: { ...record.map, src: record.picture } };
const trigger = () => {};
const watch = () => {};
const upload = () => new Promise(() => {});
const dark = matchMedia("(prefers-color-scheme: dark)");
const shade = () => document.body.classList.toggle("dark", dark.matches);
dark.addEventListener("change", shade);
shade();
