// The rail of a telephone: "More" shows the pages that have no room beside it.

const more = document.getElementById("rail-more");
const rest = document.getElementById("rail-rest");

const show = (open) => more.setAttribute("aria-expanded", String(open));
const isOpen = () => more.getAttribute("aria-expanded") === "true";

more?.addEventListener("click", () => show(!isOpen()));
document.addEventListener("click", (event) => {
  if (more && isOpen() && !more.contains(event.target) && !rest.contains(event.target)) show(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !more || !isOpen()) return;
  show(false);
  more.focus();
});
