// Leads http and https of a Node that does not read HTTP_PROXY by itself (before 22.21 and 24.5) through a forward
// proxy, by CONNECT. Loaded by NODE_OPTIONS for the command of `vaurien run` alone. fetch() has agents of its own.
'use strict'

const [major, minor] = process.versions.node.split('.').map(Number)
const byItself = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21)
const address = process.env.HTTPS_PROXY || process.env.HTTP_PROXY

if (!byItself && address) {
  const http = require('node:http')
  const https = require('node:https')
  const tls = require('node:tls')
  const proxy = new URL(address)
  const past = (process.env.NO_PROXY || '').split(',').map((one) => one.trim()).filter(Boolean)

  const direct = new http.Agent()

  const goesPast = (host, port) => past.some((one) =>
    one === '*' || one === host || one === `${host}:${port}` || host.endsWith(`.${one.replace(/^\*?\./, '')}`))

  const connect = (options, secure, done) => {
    const host = options.host || options.hostname || 'localhost'
    const where = `${host.includes(':') ? `[${host}]` : host}:${options.port}`
    const request = http.request({
      host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: where, headers: { Host: where }, agent: direct
    })
    request.once('error', done)
    request.once('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        let reason = ''
        socket.on('data', (data) => { reason += data })
        socket.on('close', () => done(new Error(`proxy: ${response.statusCode} ${response.statusMessage} ${reason}`.trim())))
        return
      }
      if (!secure) {
        done(null, socket)
        return
      }
      const servername = options.servername || host
      done(null, tls.connect({ ...options, socket, servername: /^[\d.]+$|:/.test(servername) ? '' : servername }))
    })
    request.end()
  }

  const through = (Agent, secure) => class extends Agent {
    createConnection (options, done) {
      if (goesPast(options.host, options.port) || options.socketPath) {
        return super.createConnection(options, done)
      }
      connect(options, secure, done)
    }
  }

  http.globalAgent = new (through(http.Agent, false))({ keepAlive: true, timeout: 5000 })
  https.globalAgent = new (through(https.Agent, true))({ keepAlive: true, timeout: 5000 })
}
