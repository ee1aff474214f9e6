//! Tables with what is in them, and commands that add to them.

use super::{
    super::{
        Line, Read, Unreadable,
        condition::{V4, V6},
        lines::Lines,
    },
    elements,
    ruleset::{Chain, Rule, Ruleset, base},
    tokens::{Token, tokens},
};

impl Ruleset {
    pub fn read(lines: &Lines, read: &mut Read) -> Result<Self, Unreadable> {
        let tokens = tokens(lines, &mut read.account);
        let count = |bracket| tokens.iter().filter(|token| token.is(bracket)).count();
        if count("{") > count("}") {
            return Err(Unreadable::new("a bracket is never closed", "see whether the text was cut off"));
        }
        let mut reader = Reader { lines, read, tokens: &tokens, at: 0, ruleset: Self::default() };
        while reader.at < tokens.len() {
            reader.statement();
        }
        if reader.ruleset.chains.is_empty() {
            return Err(Unreadable::new("there is no chain in the text", "give what `nft list ruleset` prints"));
        }
        Ok(reader.ruleset)
    }
}

struct Reader<'a> {
    lines: &'a Lines,
    read: &'a mut Read,
    tokens: &'a [Token],
    at: usize,
    ruleset: Ruleset,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    /// The lines of what was read since then.
    fn block(&self, from: usize) -> Vec<Line> {
        let read = self.tokens.get(from..self.at.min(self.tokens.len())).unwrap_or_default();
        let mut lines = read.iter().filter(|token| !token.is("\n")).map(|token| token.line).collect::<Vec<_>>();
        lines.dedup();
        lines
    }

    fn take(&mut self, from: usize) {
        self.block(from).into_iter().for_each(|line| self.read.account.take(line));
    }

    fn beside(&mut self, from: usize) {
        self.block(from).into_iter().for_each(|line| self.read.account.beside(line));
    }

    fn leave(&mut self, from: usize, reason: &str) {
        let block = self.block(from);
        self.read.leave_block(self.lines, &block, reason);
    }

    /// Up to the end of the statement, brackets and all; the end is taken.
    fn rest(&mut self) -> Vec<Token> {
        let mut depth = 0usize;
        let mut rest = Vec::new();
        while let Some(token) = self.next() {
            if depth == 0 && (token.ends() || token.is("}")) {
                // A closing bracket is the block's.
                self.at -= usize::from(token.is("}"));
                break;
            }
            depth = (depth + usize::from(token.is("{"))).saturating_sub(usize::from(token.is("}")));
            if !token.is("\n") {
                rest.push(token);
            }
        }
        rest
    }

    fn statement(&mut self) {
        let from = self.at;
        let Some(token) = self.next() else { return };
        match &*token.text {
            "table" => self.table(),
            "add" | "create" | "insert" => self.command(&token),
            "flush" | "delete" | "destroy" => {
                self.rest();
                if self.ruleset.chains.is_empty() {
                    self.beside(from);
                } else {
                    self.leave(from, "it takes away what comes before it in the text");
                }
            }
            _ if token.ends() => {}
            "}" => self.take(from),
            _ => {
                self.rest();
                self.leave(from, "not read: no table, and no rule of one");
            }
        }
    }

    /// `add rule inet mangle post ...`, and the like.
    fn command(&mut self, verb: &Token) {
        let from = self.at - 1;
        let Some(what) = self.next() else { return };
        if what.is("table") {
            return self.table();
        }
        let table = self.table_name();
        let name = self.next().map(|token| token.text).unwrap_or_default();
        match &*what.text {
            "chain" => self.chain(&table, name, from),
            "set" | "map" => self.named(&table, &name, from),
            "element" => {
                let tokens = self.rest();
                self.ruleset.named.entry(format!("{table} {name}")).or_default().extend(elements::read(&tokens));
                self.filled(format!("{table} {name}"), &tokens, from);
            }
            "rule" => {
                let rule = Rule { line: verb.line, tokens: self.rest() };
                self.take(from);
                let block = self.block(from);
                match self.ruleset.chains.get_mut(&format!("{table} {name}")) {
                    Some(chain) => {
                        chain.block.extend(block);
                        let at = if verb.is("insert") { 0 } else { chain.rules.len() };
                        chain.rules.insert(at, rule);
                    }
                    None => self.read.leave(self.lines, verb.line, format!("there is no chain {name} in the text")),
                }
            }
            _ => self.object(&what.text, from),
        }
    }

    /// What a table has beside chains, sets and maps.
    fn object(&mut self, what: &str, from: usize) {
        let tokens = self.rest();
        match what {
            "flags" if tokens.iter().any(|token| token.is("dormant")) => {
                self.leave(from, "nft does nothing of a dormant table, and the rules here work");
            }
            "counter" | "quota" | "limit" | "ct" | "secmark" | "synproxy" | "comment" | "flags" => self.beside(from),
            "flowtable" => {
                self.leave(from, "packets of offloaded flows pass by the chains of nft, and not by our hooks")
            }
            _ => self.leave(from, "this is not known here"),
        }
    }

    /// Family and name; without a family it is ip.
    fn table_name(&mut self) -> String {
        let first = self.next().map(|token| token.text).unwrap_or_default();
        match &*first {
            "ip" | "ip6" | "inet" | "netdev" | "bridge" | "arp" => {
                format!("{first} {}", self.next().map(|token| token.text).unwrap_or_default())
            }
            _ => format!("ip {first}"),
        }
    }

    fn table(&mut self) {
        let from = self.at - 1;
        let table = self.table_name();
        let opens = self.opens();
        self.take(from);
        while let Some(token) = self.next().filter(|_| opens) {
            let from = self.at - 1;
            match &*token.text {
                "}" if !token.quoted => return self.take(from),
                "chain" => {
                    let name = self.next().map(|token| token.text).unwrap_or_default();
                    self.chain(&table, name, from);
                }
                "set" | "map" => {
                    let name = self.next().map(|token| token.text).unwrap_or_default();
                    self.named(&table, &name, from);
                }
                _ if token.ends() => {}
                what => self.object(what, from),
            }
        }
    }

    /// Takes an opening bracket.
    fn opens(&mut self) -> bool {
        let opens = self.tokens.get(self.at).is_some_and(|token| token.is("{"));
        self.at += usize::from(opens);
        opens
    }

    fn chain(&mut self, table: &str, name: String, from: usize) {
        let families = match table.split(' ').next() {
            Some("ip") => V4,
            Some("ip6") => V6,
            _ => V4 | V6,
        };
        let id = format!("{table} {name}");
        let table = table.to_owned();
        let new = Chain { block: Vec::new(), table, families, name, base: None, rules: Vec::new() };
        let mut chain = self.ruleset.chains.remove(&id).unwrap_or(new);
        if self.opens() {
            while self.tokens.get(self.at).is_some_and(|token| !token.is("}")) {
                let line = self.tokens[self.at].line;
                let tokens = self.rest();
                self.line_of_chain(&mut chain, Rule { line, tokens });
            }
            self.at += 1;
        }
        self.take(from);
        chain.block.extend(self.block(from));
        self.ruleset.chains.insert(id, chain);
    }

    fn line_of_chain(&mut self, chain: &mut Chain, rule: Rule) {
        let Some(first) = rule.tokens.first() else { return };
        if first.is("type") && rule.tokens.iter().any(|token| token.is("hook")) {
            chain.base = Some(base(&rule.tokens));
        } else if first.is("policy") {
            if let Some(base) = chain.base.as_mut().filter(|_| rule.tokens.iter().any(|token| token.is("drop"))) {
                base.drops = Some(rule.line);
            }
        } else if !(first.is("comment") && rule.tokens.len() == 2) {
            chain.rules.push(rule);
        }
    }

    fn named(&mut self, table: &str, name: &str, from: usize) {
        let id = format!("{table} {name}");
        let mut found = Vec::new();
        if self.opens() {
            while self.tokens.get(self.at).is_some_and(|token| !token.is("}")) {
                let start = self.at;
                let tokens = self.rest();
                if tokens.first().is_some_and(|token| token.is("elements")) {
                    found = elements::read(&tokens);
                }
                self.filled(id.clone(), &tokens, start);
            }
            self.at += 1;
        }
        self.filled(id.clone(), &[], from);
        self.ruleset.named.entry(id).or_default().extend(found);
    }

    /// Lines of a set or a map, of which some may say that it changes by itself.
    fn filled(&mut self, id: String, tokens: &[Token], from: usize) {
        self.take(from);
        let block = self.block(from);
        let changes = tokens.iter().find(|token| ["timeout", "dynamic", "expires"].iter().any(|word| token.is(word)));
        if let Some(token) = changes {
            self.ruleset.changing.entry(id.clone()).or_insert(token.line);
        }
        self.ruleset.blocks.entry(id).or_default().extend(block);
    }
}
