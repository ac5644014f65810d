package main

// greeting is what the sandbox says when it is ready; the commands in it work as
// they are (a test runs them).
const greeting = `creditstream {version}: the sandbox runs
  API     {http}   (also /readyz, /metrics, /openapi.json)
  Kafka   {kafka}
  Redis   {redis}   ({redis-what})
  data    {dir}

Try it in a second terminal. An account with 20 USD that buys 50 more when 15 are left:

  curl -X PUT {http}/v1/accounts/demo -H 'Content-Type: application/json' -d '{"currency":"USD"}'
  curl -X POST {http}/v1/accounts/demo/top-ups -H 'Content-Type: application/json' -H 'Idempotency-Key: first' -d '{"amount":"20.00"}'
  curl -X PUT {http}/v1/accounts/demo -H 'Content-Type: application/json' -d '{"low_balance":["14.00"],"auto_recharge":{"enabled":true,"trigger":"15.00","amount":"50.00","payment_method":"pm_1"}}'

A satellite call of 46 seconds that has just ended, for 6.5 USD a minute and 0.5 USD for the connection:

  printf '{"id":"call-1","source":"by-hand","account":"demo","kind":"user_out","caller":"+12125550100","callee":"+870773112233","answered_at":"%s","duration_ms":46000}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" | kcat -P -b {kafka} -t cdrs

What became of it:

  kcat -C -e -q -b {kafka} -t rated-cdrs -f '%k %s\n' | grep '^demo '
  kcat -C -e -q -b {kafka} -t credit-alerts -f '%k %h\n  %s\n' | grep -A 1 '^demo '
  kcat -C -e -q -b {kafka} -t recharge-requests -f '%k %h\n  %s\n' | grep -A 1 '^demo '
  curl {http}/v1/accounts/demo

What could not be rated, and why:

  kcat -C -e -q -b {kafka} -t cdrs.dlq -f '%h\n  %s\n'
`

const payByHand = `The call has brought the balance to 13, so a recharge was asked for. Play the payment service:

  curl -X POST {http}/v1/recharges/demo/1/result -H 'Content-Type: application/json' -d '{"status":"succeeded","amount":"50.00","currency":"USD"}'

Ctrl-C stops it. A line follows whenever something has happened:
`

const simulated = `Simulated calls and payments run. Ctrl-C stops it. Every second:
`
