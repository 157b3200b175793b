//! What a check is and what it can say.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use crate::cli::Side;
use crate::client::Context;
use crate::http::{Exchange, NoAnswer};

/// The result of judging one clause on one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The clause holds.
    Pass,
    /// A binding clause is broken.
    Fail,
    /// Advice or a quality bar is not met.
    Warn,
    /// Recorded behaviour, neither right nor wrong.
    Info,
    /// Could not be judged; the observation says why.
    Skip,
    /// What an older draft asked for.
    Legacy,
    /// The clause does not concern this target.
    NotApplicable,
}

impl Verdict {
    /// All verdicts, worst first.
    pub(crate) const ALL: [Self; 7] =
        [Self::Fail, Self::Warn, Self::Legacy, Self::Pass, Self::Info, Self::Skip, Self::NotApplicable];

    /// Four letters or so for reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Skip => "SKIP",
            Self::Legacy => "LEGACY",
            Self::NotApplicable => "N/A",
        }
    }
}

/// A verdict with its evidence.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The judgement; for clauses that do not bind, FAIL is reported as WARN.
    pub(crate) verdict: Verdict,
    /// What a conforming server does.
    pub(crate) expected: String,
    /// What this one did.
    pub(crate) observed: String,
    /// How to see it again.
    pub(crate) curl: Option<String>,
}

impl Outcome {
    /// An outcome without a command.
    pub(crate) fn new(verdict: Verdict, expected: &str, observed: impl Into<String>) -> Self {
        Self { verdict, expected: expected.to_owned(), observed: observed.into(), curl: None }
    }

    /// PASS when `good`, else FAIL.
    pub(crate) fn judge(good: bool, expected: &str, observed: impl Into<String>) -> Self {
        Self::new(if good { Verdict::Pass } else { Verdict::Fail }, expected, observed)
    }

    /// PASS when there is no complaint, else FAIL with all of them.
    pub(crate) fn complaints(expected: &str, complaints: &[String], fine: impl Into<String>) -> Self {
        let observed = if complaints.is_empty() { fine.into() } else { complaints.join("; ") };
        Self::judge(complaints.is_empty(), expected, observed)
    }

    /// Adds the command that repeats `exchange`.
    #[must_use]
    pub(crate) fn by(mut self, exchange: &Exchange) -> Self {
        self.curl = Some(exchange.request.curl());
        self
    }
}

/// Why a check ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Something it needs is not there; reported as SKIP.
    Skip(String),
    /// The clause is about an optional feature that this server does not have; reported as N/A.
    NotApplicable(String),
    /// The server gave no HTTP answer at all; reported as FAIL.
    Broken(String),
}

impl From<NoAnswer> for Halt {
    fn from(error: NoAnswer) -> Self {
        Self::Broken(error.0)
    }
}

/// What a check returns.
pub(crate) type Done = Result<Outcome, Halt>;

/// When a check runs, since some need a live presenter and some need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nobody publishes.
    Idle,
    /// The suite publishes in the background.
    Live,
    /// The check brings its own presenter.
    Own,
    /// About the run as a whole.
    Last,
}

/// One check of one clause.
pub(crate) struct Case {
    /// The clause.
    pub(crate) id: &'static str,
    /// The endpoints that it is run on, each on its own.
    pub(crate) sides: &'static [Side],
    /// When it runs on [`Side::Whep`]; on [`Side::Whip`] nobody presents meanwhile, so [`Phase::Live`] is [`Phase::Idle`].
    pub(crate) phase: Phase,
    /// True when it mostly waits and disturbs nobody.
    beside: bool,
    check: Box<dyn Check>,
}

impl Case {
    /// A check for both protocols.
    pub(crate) fn both(id: &'static str, check: impl Check + 'static) -> Self {
        Self { id, sides: &[Side::Whip, Side::Whep], phase: Phase::Live, beside: false, check: Box::new(check) }
    }

    /// A check for WHIP.
    pub(crate) fn whip(id: &'static str, check: impl Check + 'static) -> Self {
        Self { id, sides: &[Side::Whip], phase: Phase::Live, beside: false, check: Box::new(check) }
    }

    /// A check for WHEP.
    pub(crate) fn whep(id: &'static str, check: impl Check + 'static) -> Self {
        Self { id, sides: &[Side::Whep], phase: Phase::Live, beside: false, check: Box::new(check) }
    }

    /// A clause whose verdict does not depend on the server, with the reason.
    pub(crate) fn fixed(id: &'static str, sides: &'static [Side], verdict: Verdict, why: &'static str) -> Self {
        let check = async move |_: &Context, _: Side| -> Done { Ok(Outcome::new(verdict, "", why)) };
        Self { id, sides, phase: Phase::Idle, beside: false, check: Box::new(check) }
    }

    /// The same check at another time.
    #[must_use]
    pub(crate) fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// The same check beside the others, because it mostly waits and disturbs nobody.
    #[must_use]
    pub(crate) fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// When it runs on that side.
    pub(crate) fn phase_on(&self, side: Side) -> Phase {
        match (side, self.phase) {
            (Side::Whip, Phase::Live) => Phase::Idle,
            (_, phase) => phase,
        }
    }

    /// True when it runs beside others on that side. Presenters have their stream for themselves, so while nobody presents
    /// nothing does.
    pub(crate) fn waits_on(&self, side: Side) -> bool {
        self.beside && matches!(self.phase_on(side), Phase::Live | Phase::Own)
    }

    /// Runs the check; what ended it early becomes an outcome.
    pub(crate) async fn run(&self, context: &Context, side: Side) -> Outcome {
        match self.check.run(context, side).await {
            Ok(outcome) => outcome,
            Err(Halt::Skip(why)) => Outcome::new(Verdict::Skip, "", why),
            Err(Halt::NotApplicable(why)) => Outcome::new(Verdict::NotApplicable, "", why),
            Err(Halt::Broken(why)) => Outcome::new(Verdict::Fail, "an HTTP response", format!("none: {why}")),
        }
    }
}

/// An async function that judges. (A trait because function pointers cannot be async.)
pub(crate) trait Check {
    /// Runs it.
    fn run<'a>(&'a self, context: &'a Context, side: Side) -> Pin<Box<dyn Future<Output = Done> + 'a>>;
}

impl<F: AsyncFn(&Context, Side) -> Done> Check for F {
    fn run<'a>(&'a self, context: &'a Context, side: Side) -> Pin<Box<dyn Future<Output = Done> + 'a>> {
        Box::pin(self(context, side))
    }
}
