const under = document.getElementById("under");
const over = document.getElementById("over");
const cut = document.getElementById("cut");
const caption = document.getElementById("stage-caption");
const show = () => over.style.setProperty("--cut", `${cut.value}%`);
if (cut) {
  cut.addEventListener("input", show);
  show();
  for (const choice of document.querySelectorAll(".choice")) {
    choice.addEventListener("click", () => {
      const [before, after] = choice.querySelectorAll("img");
      if (!before || !after) return;
      [under.src, under.alt, over.src, over.alt] = [before.src, before.alt, after.src, after.alt];
      caption.textContent = choice.dataset.caption;
      document.querySelector(".stage").scrollIntoView({ block: "nearest" });
    });
  }
}
