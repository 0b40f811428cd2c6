package demo

// demoConfig is the relay's configuration: the defaults, but for intervals
// that people can wait for, and for addresses on this machine.
const demoConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
auth:
  verify: no # there may be no DNS to ask, and the senders are made up
inbound:
  listen: [%q]
  min_free: 64MiB
  timeouts:
    greeting: 50ms
    drain: 5s
  returning:
    times: 2
    over: 2s
domains:
  - name: %s
upstreams:
  - name: exo
    hosts: [%s]
    tls:
      server_name: %s
      ca: %q
    timeouts:
      connect: 2s
      greeting: 5s
      hello: 5s
      tls: 5s
      mail: 10s
      rcpt: 10s
      data: 10s
      final: 20s
    delivery:
      attempt: 1m
      wait: 200ms
      max_wait: 2s
      start_rate: 6000
    probe:
      every: 1s
      every_bad: 500ms
      timeout: 4s
    health:
      relief: 2s
      ease: 5s
      span: 20s
queue:
  interrupted: 1s
  schedule:
    first: 1s
    max: 3s
`
