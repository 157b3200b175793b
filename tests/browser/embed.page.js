// Somebody else's page: puts the player in as its makers tell, and notes what it says.

const { hash } = location;
const server = decodeURIComponent(hash.slice(1));

const script = document.createElement('script');
script.type = 'module';
script.src = `${server}/static/player.js`;
document.head.append(script);

const player = document.createElement('tribune-player');
player.setAttribute('src', `${server}/watch/talk`);
window.states = [];
player.addEventListener('statechange', ({ detail }) => window.states.push(detail.state));
document.body.append(player);
