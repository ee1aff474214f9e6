//! `qosbpf run`, on real interfaces in namespaces of its own: links that come and go, files that are wrong, kills, scrapers
//! that hang, people who may not. Needs root, iproute2, util-linux, and Prometheus with its promtool.

mod by_hand;
mod control;
mod crowded;
mod deadlines;
mod denied;
mod directory;
mod elsewhere;
mod failing;
mod folder;
mod follow;
mod hidden;
mod links;
mod made_again;
mod many;
mod metrics;
mod minute;
mod once;
mod pins;
mod prometheus;
mod rates;
mod reload;
mod remembered;
mod renamed;
mod restart;
mod returned;
mod said;
mod scrapes;
mod settings;
mod supervised;
mod unread;
