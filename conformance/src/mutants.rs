//! Proof that the checks can fail: each mutant is a wrong server, made from the healthy one that `--whip` and `--whep`
//! name by a proxy that alters one thing. The clauses that it breaks must turn from PASS to FAIL or WARN, and no other
//! clause of its group may.

mod answers;
mod counter;
mod events;
mod explained;
mod fragments;
mod links;
mod media;
mod proxy;
mod relay;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use crate::case::{Case, Verdict};
use crate::cases::all;
use crate::cli::Side;
use crate::client::{Context, Target};
use crate::http::Http;
use crate::run::present;
use explained::explained;
use proxy::{Ask, Proxy, Reply};
use relay::{Fate, Passing};

/// A wrong server.
#[derive(Clone, Copy)]
struct Mutant {
    /// What it does wrong.
    name: &'static str,
    /// The clauses that it breaks.
    breaks: &'static [&'static str],
    /// How it is made.
    how: How,
    /// True when only those clauses are judged, because the others of the group cannot be on such a server.
    alone: bool,
}

impl Mutant {
    /// A mutant that is judged by all clauses of its group.
    const fn new(name: &'static str, breaks: &'static [&'static str], how: How) -> Self {
        Self { name, breaks, how, alone: false }
    }

    /// The same mutant, judged by the clauses that it breaks only.
    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// How a mutant is made from the healthy server.
#[derive(Clone, Copy)]
enum How {
    /// Nothing is altered.
    Honest,
    /// Requests are altered before the server sees them.
    Ask(fn(&mut Ask)),
    /// Some requests are answered without asking the server.
    Forge(fn(&Ask) -> Option<Reply>),
    /// Answers are altered.
    Reply(fn(&Ask, &mut Reply)),
    /// The blocks of event streams are altered, or left out.
    Events(fn(&str) -> Option<String>),
    /// Datagrams are altered.
    Wire(fn(&mut Passing) -> Fate),
}

/// Mutants that are judged by each other's clauses.
struct Group {
    name: &'static str,
    when: When,
    mutants: &'static [Mutant],
}

/// What is needed to judge a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// A viewer's clauses while somebody presents; these run side by side.
    Live,
    /// The same one after another, since key frames that others ask for would hide what is not heard.
    Quiet,
    /// The same as the first, for clauses that wait for half a minute.
    Waiting,
    /// A viewer's clauses while nobody presents.
    Idle,
    /// A presenter's clauses.
    Presenting,
    /// A viewer's clauses whose checks bring their own presenter.
    Own,
}

impl When {
    /// The endpoint that is judged.
    fn side(self) -> Side {
        match self {
            Self::Live | Self::Quiet | Self::Waiting | Self::Idle | Self::Own => Side::Whep,
            Self::Presenting => Side::Whip,
        }
    }
}

/// All groups.
fn groups() -> impl Iterator<Item = &'static Group> {
    let http = resources::GROUPS.iter().chain(fragments::GROUPS).chain(answers::GROUPS);
    http.chain(links::GROUPS).chain(counter::GROUPS).chain(events::GROUPS).chain(media::GROUPS)
}

impl Group {
    /// The clauses that some mutant of the group breaks.
    fn clauses(&self) -> BTreeSet<&'static str> {
        self.mutants.iter().flat_map(|mutant| mutant.breaks.iter().copied()).collect()
    }

    /// The healthy server as this group sees it: behind the relay when datagrams are altered.
    fn honest(&self) -> How {
        let wired = self.mutants.iter().any(|mutant| matches!(mutant.how, How::Wire(_)));
        if wired { How::Wire(|_| Fate::Pass) } else { How::Honest }
    }
}

/// What one mutant did to the clauses.
struct Trial {
    name: &'static str,
    /// Clause, verdict on the healthy server, verdict on the mutant, what was seen there.
    broken: Vec<(&'static str, Verdict, Verdict, String)>,
    /// What went otherwise than the table says.
    surprises: Vec<String>,
}

impl Trial {
    /// The healthy server itself: what it breaks, no mutant can.
    fn unaltered(group: &Group, healthy: &Verdicts) -> Self {
        let broken = healthy.iter().filter(|(id, (verdict, _))| complains(*verdict) && explained(id).is_none());
        let surprises = broken.map(|(id, (verdict, seen))| {
            let group = group.name;
            format!("{id} is {} before anything is altered, in the group {group}: {seen}", verdict.name())
        });
        Self { name: UNALTERED, broken: Vec::new(), surprises: surprises.collect() }
    }

    /// True when some clause turned.
    fn proves(&self) -> bool {
        self.broken.iter().any(|(_, before, after, _)| turned(*before, *after))
    }

    /// True when it is about a mutant.
    fn is_mutant(&self) -> bool {
        self.name != UNALTERED
    }
}

/// The result of all mutants.
pub(crate) struct SelfTest {
    trials: Vec<Trial>,
    took: Duration,
}

/// The verdicts of one run of some clauses.
type Verdicts = BTreeMap<&'static str, (Verdict, String)>;

/// Runs every mutant that breaks one of `only` (all, when that is empty). With a second stream, what needs the seat of
/// a presenter is judged there, beside the rest.
///
/// # Errors
/// A sentence when the server cannot be reached or presented to.
pub(crate) async fn self_test(
    target: &Target,
    second: Option<&Target>,
    http: &Http,
    only: &[String],
    quiet: bool,
) -> Result<SelfTest, String> {
    if target.whip.is_none() || target.whep.is_none() {
        return Err("--self-test needs --whip and --whep of a healthy server".into());
    }
    let begin = Instant::now();
    let bench_at =
        |target: &Target| Rc::new(Bench { target: target.clone(), http: http.clone(), only: only.to_vec(), quiet });
    let main = bench_at(target);
    let mut trials = Vec::new();
    if let Some(second) = second {
        let seat = bench_at(second);
        let (seats, viewers) = tokio::join!(seat.try_presenters(), main.try_viewers());
        trials.extend(seats);
        trials.extend(viewers?);
    } else {
        trials.extend(main.try_presenters().await);
        trials.extend(main.try_viewers().await?);
    }
    Ok(SelfTest { trials, took: begin.elapsed() })
}

/// What all trials use.
struct Bench {
    target: Target,
    http: Http,
    only: Vec<String>,
    quiet: bool,
}

impl Bench {
    /// True when a mutant is asked for.
    fn wants_mutant(&self, mutant: &Mutant) -> bool {
        self.only.is_empty() || mutant.breaks.iter().any(|id| self.only.iter().any(|o| o.eq_ignore_ascii_case(id)))
    }

    /// True when some mutant of a group is asked for.
    fn wants(&self, group: &Group) -> bool {
        group.mutants.iter().any(|mutant| self.wants_mutant(mutant))
    }

    /// The groups for that time which have a mutant that is asked for.
    fn wanted(&self, when: When) -> impl Iterator<Item = &'static Group> {
        groups().filter(move |group| group.when == when && self.wants(group))
    }

    /// Judges the groups that need the seat of a presenter, or an empty one.
    async fn try_presenters(self: &Rc<Self>) -> Vec<Trial> {
        let mut trials = Vec::new();
        for when in [When::Idle, When::Presenting, When::Own] {
            for group in self.wanted(when) {
                trials.extend(self.try_group(group, Rc::new(Semaphore::new(1))).await);
            }
        }
        trials
    }

    /// Judges the groups of viewers while somebody presents.
    ///
    /// # Errors
    /// A sentence when the server cannot be presented to.
    async fn try_viewers(self: &Rc<Self>) -> Result<Vec<Trial>, String> {
        let mut trials = Vec::new();
        if [When::Live, When::Quiet, When::Waiting].into_iter().all(|when| self.wanted(when).next().is_none()) {
            return Ok(trials);
        }
        let context = Context::new(self.target.clone(), self.http.clone());
        let (session, mut live) = present(&context).await?;
        for group in self.wanted(When::Quiet) {
            trials.extend(self.try_group(group, Rc::new(Semaphore::new(1))).await);
        }
        let permits = Rc::new(Semaphore::new(SIDE_BY_SIDE));
        let work = LocalSet::new();
        let mut tasks = JoinSet::new();
        for group in self.wanted(When::Live).chain(self.wanted(When::Waiting)) {
            // Who waits for half a minute keeps nobody else from working.
            let waits = group.when == When::Waiting;
            let permits = if waits { Rc::new(Semaphore::new(group.mutants.len())) } else { permits.clone() };
            let bench = self.clone();
            tasks.spawn_local_on(async move { bench.try_group(group, permits).await }, &work);
        }
        let done = work.run_until(async { tasks.join_all().await }).await;
        trials.extend(done.into_iter().flatten());
        live.close().await;
        let _already_gone = context.close(&session).await;
        Ok(trials)
    }

    /// Judges the healthy server and then each mutant of a group; never more at once than there are permits.
    async fn try_group(self: &Rc<Self>, group: &'static Group, permits: Rc<Semaphore>) -> Vec<Trial> {
        let cases: Rc<Vec<Case>> = Rc::new(all());
        let watched: Vec<&'static str> = group.clauses().into_iter().collect();
        let healthy = {
            let _permit = permits.acquire().await;
            Rc::new(self.judge_healthy(&cases, group, &watched).await)
        };
        let work = LocalSet::new();
        let mut tasks = JoinSet::new();
        for mutant in group.mutants.iter().filter(|mutant| self.wants_mutant(mutant)) {
            let (bench, cases, healthy, permits) = (self.clone(), cases.clone(), healthy.clone(), permits.clone());
            let watched = if mutant.alone { mutant.breaks.to_vec() } else { watched.clone() };
            let task = async move {
                let _permit = permits.acquire().await;
                bench.try_mutant(group, mutant, &cases, &watched, &healthy).await
            };
            tasks.spawn_local_on(task, &work);
        }
        let mut trials = work.run_until(async { tasks.join_all().await }).await;
        trials.push(Trial::unaltered(group, &healthy));
        trials
    }

    /// Judges the healthy server behind the proxy; what does not hold a second time, as mutants are.
    async fn judge_healthy(&self, cases: &[Case], group: &Group, watched: &[&'static str]) -> Verdicts {
        let (side, how) = (group.when.side(), group.honest());
        let mut healthy = self.judge(cases, side, watched, how).await;
        let doubtful = |(id, (verdict, _)): (&&'static str, &(Verdict, String))| {
            (complains(*verdict) || *verdict == Verdict::Skip).then_some(*id)
        };
        let doubtful: Vec<&'static str> = healthy.iter().filter_map(doubtful).collect();
        if !doubtful.is_empty() {
            healthy.extend(self.judge(cases, side, &doubtful, how).await);
        }
        healthy
    }

    /// Judges one mutant; a second time when the first went otherwise than it should, since a busy machine loses
    /// datagrams and time.
    async fn try_mutant(
        &self,
        group: &Group,
        mutant: &'static Mutant,
        cases: &[Case],
        watched: &[&'static str],
        healthy: &Verdicts,
    ) -> Trial {
        let start = Instant::now();
        let mut trial = compare(mutant, healthy, &self.judge(cases, group.when.side(), watched, mutant.how).await);
        if !trial.surprises.is_empty() {
            trial = compare(mutant, healthy, &self.judge(cases, group.when.side(), watched, mutant.how).await);
        }
        if !self.quiet {
            let verdict = if trial.surprises.is_empty() { "found out" } else { "SURPRISE" };
            eprintln!("{verdict:9} {} / {} ({:.1} s)", group.name, mutant.name, start.elapsed().as_secs_f64());
        }
        trial
    }

    /// The verdicts of some clauses behind a proxy.
    async fn judge(&self, cases: &[Case], side: Side, ids: &[&'static str], how: How) -> Verdicts {
        let mut verdicts = Verdicts::new();
        let proxy = match Proxy::start(&self.target, self.http.clone(), how).await {
            Ok(proxy) => proxy,
            Err(why) => return ids.iter().map(|id| (*id, (Verdict::Skip, why.clone()))).collect(),
        };
        let context = Context::new(self.target.at(proxy.address), self.http.clone());
        for id in ids {
            let Some(case) = cases.iter().find(|case| case.id == *id && case.sides.contains(&side)) else {
                continue;
            };
            let outcome = match tokio::time::timeout(LONGEST, case.run(&context, side)).await {
                Ok(outcome) => (outcome.verdict, outcome.observed),
                Err(_) => (Verdict::Skip, format!("not judged within {} s", LONGEST.as_secs())),
            };
            context.clean_up_side(side).await;
            verdicts.insert(id, outcome);
        }
        context.clean_up().await;
        verdicts
    }
}

/// True for verdicts that complain.
fn complains(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Legacy)
}

/// True for a clause that the healthy server does not break (it may not concern it), and the mutant does.
fn turned(before: Verdict, after: Verdict) -> bool {
    matches!(before, Verdict::Pass | Verdict::Info | Verdict::NotApplicable) && complains(after)
}

/// Holds a mutant's verdicts against those of the healthy server.
fn compare(mutant: &'static Mutant, healthy: &Verdicts, wrong: &Verdicts) -> Trial {
    let mut trial = Trial { name: mutant.name, broken: Vec::new(), surprises: Vec::new() };
    for id in mutant.breaks {
        let (before, why) = healthy.get(id).cloned().unwrap_or((Verdict::Skip, "no check".into()));
        let (after, seen) = wrong.get(id).cloned().unwrap_or((Verdict::Skip, "no check".into()));
        let good = matches!(before, Verdict::Pass | Verdict::Info | Verdict::NotApplicable);
        if good && !complains(after) {
            trial.surprises.push(format!("{id} is still {}: {seen}", after.name()));
        }
        let note = if good { seen } else { why };
        trial.broken.push((id, before, after, note));
    }
    for (id, (after, seen)) in wrong.iter().filter(|(id, _)| !mutant.breaks.contains(id)) {
        let before = healthy.get(id).map_or(Verdict::Skip, |(verdict, _)| *verdict);
        if complains(*after) && !complains(before) {
            trial.surprises.push(format!("{id} turned {} too: {seen}", after.name()));
        }
    }
    trial
}

impl SelfTest {
    /// True when every mutant was found out, and only by the clauses that it breaks.
    pub(crate) fn passed(&self) -> bool {
        !self.trials.is_empty() && self.trials.iter().all(|trial| trial.surprises.is_empty())
    }

    /// The table of clauses and their mutants, and the clauses that have none, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut by_clause: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut idle: BTreeMap<&str, String> = BTreeMap::new();
        for trial in &self.trials {
            for (id, before, after, note) in &trial.broken {
                if turned(*before, *after) {
                    by_clause.entry(id).or_default().push(format!("{} ({})", trial.name, after.name()));
                } else {
                    idle.insert(id, format!("{} on this server: {note}", before.name()));
                }
            }
        }
        let mut out = String::from("| Clause | Mutants that fail it |\n| --- | --- |\n");
        for (id, mutants) in &by_clause {
            let _infallible = writeln!(out, "| {id} | {} |", mutants.join("; "));
        }
        out.push_str("\n| Clause | Why no mutant fails it |\n| --- | --- |\n");
        let known: BTreeSet<&str> = all().iter().map(|case| case.id).collect();
        for id in known.iter().filter(|id| !by_clause.contains_key(*id)) {
            let known = explained(id).map(str::to_owned).or_else(|| idle.get(id).cloned());
            let why = known.unwrap_or_else(|| "none yet".to_owned());
            let _infallible = writeln!(out, "| {id} | {} |", why.replace('|', "\\|"));
        }
        let surprises: Vec<String> =
            self.trials.iter().flat_map(|t| t.surprises.iter().map(|s| format!("- {}: {s}\n", t.name))).collect();
        if !surprises.is_empty() {
            let _infallible = write!(out, "\nOtherwise than expected:\n\n{}", surprises.concat());
        }
        let mutants: Vec<&Trial> = self.trials.iter().filter(|trial| trial.is_mutant()).collect();
        let unproved: Vec<&str> = mutants.iter().filter(|trial| !trial.proves()).map(|trial| trial.name).collect();
        if !unproved.is_empty() {
            let _infallible = writeln!(out, "\nNot judged on this server: {}", unproved.join("; "));
        }
        let found = mutants.iter().filter(|trial| trial.surprises.is_empty() && trial.proves()).count();
        let (mutants, clauses, seconds) = (mutants.len(), by_clause.len(), self.took.as_secs());
        let _infallible = writeln!(
            out,
            "\n{found} of {mutants} mutants found out, {clauses} clauses proved able to fail, {seconds} s"
        );
        out
    }
}

/// The name of a trial in which nothing is altered.
const UNALTERED: &str = "the healthy server";
/// How many mutants are judged at once; more than two processors can use only waits.
const SIDE_BY_SIDE: usize = 8;
/// For one check; those that wait longer have mutants that are found out sooner.
const LONGEST: Duration = Duration::from_secs(70);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_breaks_clauses_that_are_judged_where_it_runs() {
        let cases = all();

        for group in groups() {
            let mut names = BTreeSet::new();
            for mutant in group.mutants {
                assert!(names.insert(mutant.name), "{} twice in {}", mutant.name, group.name);
                assert!(!mutant.breaks.is_empty(), "{} breaks nothing", mutant.name);
                for id in mutant.breaks {
                    let judged = |case: &&Case| case.id == *id && case.sides.contains(&group.when.side());
                    assert!(cases.iter().any(|case| judged(&case)), "{}: {id} has no check there", mutant.name);
                }
            }
        }
    }

    #[test]
    fn a_verdict_that_does_not_turn_is_a_surprise() {
        const MUTANT: Mutant = Mutant::new("m", &["A"], How::Honest);
        let verdicts = |a, b| Verdicts::from([("A", (a, String::new())), ("B", (b, String::new()))]);
        let healthy = verdicts(Verdict::Pass, Verdict::Pass);
        let surprises = |a, b| compare(&MUTANT, &healthy, &verdicts(a, b)).surprises.len();

        assert_eq!(surprises(Verdict::Fail, Verdict::Pass), 0);
        assert_eq!(surprises(Verdict::Fail, Verdict::Skip), 0);
        assert_eq!(surprises(Verdict::Pass, Verdict::Pass), 1);
        assert_eq!(surprises(Verdict::Skip, Verdict::Pass), 1);
        assert_eq!(surprises(Verdict::Fail, Verdict::Warn), 1);
    }
}
