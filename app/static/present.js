async () => {
  for (let tries = 0; tries < 50 && !document.querySelector("#deck .deck"); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 40)); // a tab is built when it is first opened
  }
  document.querySelector("#deck .deck")?.dispatchEvent(new Event("present"));
}
