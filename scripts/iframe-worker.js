// Browsers start no worker for a page that was opened as a file. There the search runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      const answer = data => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      }
      this.inside = inside
      this.ready = new Promise((loaded, failed) => {
        inside.postMessage = data => setTimeout(() => answer(data))
        inside.importScripts = (...names) => names.reduce((before, name) => before.then(() => new Promise((done, no) => {
          const script = inside.document.createElement("script")
          script.onload = done
          script.onerror = no
          script.src = name
          inside.document.body.append(script)
        })), Promise.resolve())
        inside.importScripts(new URL(url, location.href).href).then(loaded, failed)
      })
    }
    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.inside.frameElement.remove()
    }
  }
}
