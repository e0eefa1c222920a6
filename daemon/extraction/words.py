"""Closed classes of English words that the rules share. Data only: no rule lives here, and no word is here because a test set has it."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of `text` as a set; the form in which every list below is written."""
    return frozenset(text.split())


DETERMINERS = words("a an the")
PRONOUNS = words(
    """
    ours whatever whoever whichever so then thus see read note consider farther further eastward westward northward southward
    i we you he she it they this that these those there here who whom whose what which how why where when one ones some many most
    all each every such both none nothing something anything everything someone anyone everyone nobody few several another other
    others either neither much more please his her its their our my your mine yours theirs not no never any only let's it's that's
    there's he's she's what's me him us them
    """
)
FIRST_OR_SECOND_PERSON = words(
    "i we you me us my our your mine ours yours myself ourselves yourself i'm we're you're i've we've you've let's"
)
PREPOSITIONS = words(
    """
    in within at on for among amongst under during by as from to with without inside outside across through throughout between
    beneath below above over after before near like unlike according via around along behind beyond despite of into onto upon
    toward towards per
    """
)
SUBORDINATORS = words(
    """
    if when whenever because although though while whereas since unless until once whether even given assuming suppose provided
    """
)
# Words that join a sentence to the one before it: the sentence argues, it rarely opens a definition.
CONNECTIVES = words(
    """
    however therefore thus hence moreover furthermore additionally besides also then so but and or yet still nevertheless
    nonetheless instead consequently accordingly similarly likewise meanwhile otherwise finally overall second secondly third
    thirdly lastly next indeed again certainly clearly obviously perhaps maybe unfortunately fortunately interestingly
    surprisingly apparently now today actually
    """
)
SOFT_ADVERBS = words(
    """
    generally usually typically often commonly essentially basically simply traditionally historically technically formally
    informally originally broadly sometimes officially primarily mainly mostly first firstly currently formerly literally also
    itself themselves largely really just both either especially effectively now still today strictly roughly
    """
)
HEDGES = words("perhaps probably possibly maybe arguably supposedly allegedly apparently presumably seemingly hopefully")
NEGATIONS = words("not no never nor neither without hardly scarcely isn't aren't wasn't weren't cannot")
RELATIVISERS = words("that which who whose whom where")
# Finite verbs and auxiliaries: a subject that contains one is a clause, not a name.
AUXILIARIES = words(
    """
    is are was were be been am has have had do does did can could may might must shall should will would said says say told think
    thinks believe believes became become becomes made makes took takes gave gives got gets went goes came comes knew saw see seen
    there asserts asserted states stated argues argued claims claimed notes noted suggests suggested reports reported proposed
    proposes shows showed explains explained found finds writes wrote
    """
)
# Heads that point at the talk itself, at people in general or at something outside the sentence; they never name a thing worth learning.
GENERIC_HEADS = words(
    """
    problem problems reason reasons result results goal goals question questions idea ideas fact facts issue issues thing things
    way ways point points case cases example examples aim aims purpose purposes answer answers difference differences advantage
    advantages disadvantage user users person people someone author authors reader readers number numbers time times day days year
    years part parts kind kinds type types following former latter rest majority others approach solution main key best trick
    catch downside upside benefit benefits drawback challenge challenges lesson conclusion summary introduction section chapter
    paper article post page document documentation figure table list step steps next change changes fix bug bugs patch workaround
    impact vulnerability vulnerabilities attacker attackers cause effect effects consequence consequences outcome alternative
    alternatives option options choice default update updates version versions release name names title value values symbol
    subject topic object content contents focus emphasis role importance status situation story news everything nothing side half
    end beginning start top bottom middle center centre area amount size length total average left right man woman men women child
    children boy girl boys girls guy customer customers developer developers today yesterday tomorrow week month winner winners
    loser evidence proof notion assumption danger risk hope task tasks job work works other another two three four five six code
    function functions method methods macro implementation crate above below speaker narrator plot ending success failure
    relationship relation origin origins etymology motto capital population climate economy presence lack use uses usage
    """
)
# "The <one of these> is ..." in running prose points back at something already named.
ANAPHORIC_HEADS = words(
    """
    company firm film movie book novel game town city village project team band album series song single show school church
    building river lake island country region area district county system program programme software library tool device machine
    ship aircraft car engine model term word phrase concept process technique procedure theory group organisation organization
    agency party club event festival war battle family species genus animal plant character station road bridge castle house
    museum park magazine newspaper journal site website company's language protocol format standard service product package module
    interface class order state court law act king queen president player
    """
)
# "X is a <one of these>" judges X instead of saying what it is.
EVALUATIVE_HEADS = words(
    """
    problem problems challenge challenges matter must necessity step reason shame mistake concern priority risk key result results
    example examples good bad success failure surprise pleasure disaster mess joke thing things lot bit deal idea issue issues
    pity fact question consequence sign signs symptom indication factor factors cause goal difference case cases choice option
    favourite favorite winner loser member members part parts kind advantage disadvantage benefit drawback beginning start end
    masterpiece classic hit must-have candidate topic subject focus reminder proof evidence answer solution source sources need
    big great better worse best worst few many little same requirement exception opportunity time basis threat fan friend guest
    victim tribute reference
    """
)
# Kinds of document: "This is a guide to ..." says what the page is, not what its title means.
DOCUMENT_KINDS = words(
    """
    list guide page article post blog summary tutorial introduction glossary draft stub reminder test placeholder document section
    chapter collection overview report story recap review interview transcript thread question announcement update quick note
    notes copy template example
    """
)
# Class words that may follow a name without changing what is named: "Serverless computing", "the Foo crate".
CLASS_WORDS = words(
    """
    computing software system systems platform project application applications app technology technologies tool tools language
    framework library crate package service services company protocol standard pattern architecture model approach method
    technique process concept principle engine format specification database device team band film movie novel book series game
    album infrastructure environment practice practices
    """
)
# Heads of what programs are called: "the foo crate provides ...".
SOFTWARE = words(
    """
    crate library package framework tool toolkit module plugin daemon server client app application program compiler interpreter engine
    utility extension gem api sdk service platform protocol system algorithm parser driver database
    """
)
STARTERS = words(
    """
    the a an it its this that these those they he she we you i in on at for from by with as but and however although when while if
    there their his her our to after before since because also such some many most all each both one what who how why is are was
    were here then thus therefore
    """
)
UNTITLES = words(
    """
    introduction overview news home readme about index contents welcome blog contact glossary faq help summary abstract conclusion
    references changelog notes updates release releases untitled documentation docs definition definitions dictionary encyclopedia
    terms terminology
    """
)
TITLE_VERBS = words(
    """
    is are was were will has have had can could may might should must does do did how why what when where who which wins won says
    said gets got announces announced releases launches introduces causes leads allows dies died isn't aren't doesn't don't can't
    cannot be been
    """
)
# Keys of page metadata and callouts: "Status: draft" is no glossary entry.
METADATA_KEYS = words(
    """
    read watch listen see visit learn more
    status date dates author authors source sources license licence tag tags category categories version name type note notes
    warning tip tips email phone address price location url link links see example examples summary description title id published
    updated created by from to cc subject re ps pros cons step question answer q a director writer producer cast genre runtime
    language country year rating hours contact photo image credit important caution danger info required optional default usage
    syntax returns parameters input output result results severity package patched affected fixed impact references keywords
    topics topic website duration fee deadline where when who what why how update edit breaking
    """
)
# What news says of its subjects in the present tense; a titled sentence with one of these reports, it does not define.
EVENT_VERBS = words(
    """
    announces says wins plans reports launches releases warns dies returns joins leaves opens closes faces seeks expects hopes
    agrees signs beats loses confirms denies calls asks tells wants tries crashes fails panics has does needs requires lacks
    remains seems appears becomes gets goes comes looks feels thinks knows likes loves hates uses always as us this its his
    """
)
# What a person or body was, told in the past: these define, where most past verbs report.
ROLE_VERBS = words("served worked reigned ruled played formed comprised consisted denoted represented")
# First words that set a thing off from others of the same talk: "the resulting film", "an equivalent test".
POINTING_ADJECTIVES = words(
    """
    first second third fourth fifth last next
    important typical equivalent resulting final specific particular certain similar recent possible several various additional
    actual famous notable whole entire corresponding respective remaining present previous original usual obvious
    """
)
# Adjectives that praise or blame: "a great resource" tells an opinion.
JUDGING_ADJECTIVES = words(
    """
    great good bad powerful useful crucial vital valuable fragile wonderful excellent terrible perfect fantastic amazing nice
    beautiful poor best worst brilliant convenient interesting better worse very such far contentious huge
    """
)
NUMBERS = words("two three four five six seven eight nine ten eleven twelve dozens hundreds thousands millions")
REPORTING_VERBS = words(
    """
    said says told tells asked asks added adds wrote writes noted notes explained explains called announced argued argues recalled
    """
)
# Where a name given by "called" or taken from before a comma ends: words that never stand inside a common name.
NAME_STOPS = words(
    """
    that which who whose because and or when where in for by to with from is are was were as after due if while since at on into
    can will may has have had but so than during before until through under between they it he she we you this these its their
    his her a an the etc
    """
)
# Frequent verbs that are seldom nouns: a noun phrase that is read from its end stops at one.
COMMON_VERBS = words(
    """
    accept accepts achieve achieves acts affect affects allow allows appear appears apply applies asked became become becomes began
    begin begins believe believes belong belongs bind binds bring brings brought build builds built calculate called carries carry
    choose chose come comes consider considered consist consists contain contained contains create created creates cross crosses
    define defined defines depend depends describe described describes determine determined determines develop developed develops
    differ differs discover discovered discuss divide divides emit emits employ employs enable enables encode encodes enter enters
    examine examines exhibit exhibits exist exists experience experiences face faces feature featured follow followed follows
    form formed forms found gave generate generates get gets give given gives grow grows have help helps hold holds identify
    include included includes including increase increases indicate indicates introduced introduces involve involved involves keep
    keeps know known knows lacks lead leads learn led let lie lies live lives made make makes maintain maintains measure measured
    measures need needs obtain occur occurs offer offers perform performs play plays pose possess possesses prevent prevents
    produce produced produces proposed propose proposes protect protects provide provided provides publish published put puts
    reach reaches receive receives recognize refer refers regulate regulates release released releases rely remain remains remove
    removes replace replaces represent represents require requires resemble reside result results reveal ruled run runs saw say
    says secrete secretes seek seeks see seem seems send sends separate separates serve served serves show shows start starts
    state states stimulate stimulates studied study suggest suggests support supports surround surrounds take takes tell tells
    transport transports trigger triggers undergo undergoes understand use used uses using want wants went write writes wrote
    """
)
_PLURALS = words(
    """
    people men women children persons bacteria fungi species progeny algae data criteria phenomena media nuclei larvae police mice
    feet teeth geese cattle fish sheep series means vertebrae cilia flagella genera spectra mitochondria
    """
)


def is_plural(word: str) -> bool:
    """True where the last letters of a noun say that there are several."""
    lower = word.lower().strip("\"'”’.,;:")
    return lower in _PLURALS or (
        len(lower) > 3 and lower.endswith("s") and not lower.endswith(("ss", "us", "is", "ous", "ics", "'s", "’s"))
    )
