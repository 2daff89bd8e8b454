// Two certified OpenID Connect providers on loopback: "standard" keeps an address for the userinfo
// endpoint, "talkative" puts it into the id token, as Google does.
// Arguments: the folder node_modules, and JSON with `clients` and `accounts`.
// Prints {"standard": issuer, "talkative": issuer}, and ends when its standard input does.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, settings] = process.argv.slice(2);
const { clients, accounts } = JSON.parse(settings);
const entry = createRequire(`${modules}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(entry).href);

const findAccount = (_, id) => ({
  accountId: id,
  claims: () => ({
    sub: id, email: `${id}@example.com`, email_verified: true, name: id, ...accounts[id],
  }),
});

async function start(conformIdTokenClaims) {
  let answer;
  const server = createServer((request, response) => answer(request, response));
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    findAccount,
    conformIdTokenClaims,
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'given_name', 'family_name', 'picture'],
    },
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: true } },
  });
  answer = provider.callback();
  return issuer;
}

console.log(JSON.stringify({ standard: await start(true), talkative: await start(false) }));
process.stdin.on('end', () => process.exit(0)).resume();
