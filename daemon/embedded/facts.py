"""The invented world as data: what kinds of things there are, what is said of them, and what follows from it.

Every phrase ends with the value it states, so that its left context is a question and its last words the answer. `implies` holds what common
sense concludes from a value and no definition ever states (a comedy is funny). Knows nothing about sampling, tokens or models.
"""

from dataclasses import dataclass

NAME = "name"  # a value invented for each entity
YEAR = "year"  # a number between 1801 and 1999


@dataclass(frozen=True, slots=True)
class Domain:
    """A closed list of values, and the sentence that links a value `{v}` to the word `{w}` it implies."""

    implies: dict[str, str]
    link: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that can be said of an entity: phrases end in the value; the implied ones end in the implied word."""

    domain: str
    phrases: tuple[str, ...]
    questions: tuple[str, ...]
    implied_phrases: tuple[str, ...] = ()
    implied_questions: tuple[str, ...] = ()


def _pairs(text: str) -> dict[str, str]:
    return dict(item.split("/") for item in " ".join(text.split()).split(", "))


DOMAINS: dict[str, Domain] = {
    "genre": Domain(
        _pairs(
            "comedy/funny, tragedy/sad, horror/frightening, romance/tender, thriller/tense, documentary/factual, fantasy/magical, mystery/puzzling,"
            " adventure/exciting, satire/mocking, epic/grand, farce/silly"
        ),
        "a work of {v} is {w}",
    ),
    "month": Domain(
        _pairs(
            "January/winter, February/winter, March/spring, April/spring, May/spring, June/summer, July/summer, August/summer, September/autumn,"
            " October/autumn, November/autumn, December/winter"
        ),
        "{v} is in {w}",
    ),
    "city": Domain(
        _pairs(
            "Paris/France, Rome/Italy, Madrid/Spain, Berlin/Germany, Tokyo/Japan, Cairo/Egypt, Lima/Peru, Oslo/Norway, Athens/Greece, Dublin/Ireland,"
            " Vienna/Austria, Delhi/India, Lisbon/Portugal, Havana/Cuba"
        ),
        "{v} is in {w}",
    ),
    "organ": Domain(
        _pairs(
            "heart/cardiologist, skin/dermatologist, eyes/oculist, teeth/dentist, brain/neurologist, bones/surgeon, ears/audiologist, feet/podiatrist,"
            " muscles/masseur, mind/psychiatrist"
        ),
        "the {v} is the business of the {w}",
    ),
    "material": Domain(
        _pairs(
            "glass/fragile, steel/strong, rubber/elastic, gold/precious, wool/warm, silk/smooth, lead/heavy, paper/thin, stone/hard, cotton/soft, ice/cold,"
            " clay/brittle"
        ),
        "{v} is {w}",
    ),
    "colour": Domain(
        _pairs(
            "red/blood, green/grass, yellow/lemons, white/snow, black/coal, blue/water, orange/carrots, pink/roses, grey/ashes, brown/chestnuts, purple/plums,"
            " silver/moonlight"
        ),
        "{v} is the colour of {w}",
    ),
    "ingredient": Domain(
        _pairs(
            "honey/sweet, lemon/sour, pepper/hot, salt/salty, coffee/bitter, mint/fresh, garlic/pungent, smoke/smoky, cream/rich, ginger/spicy, vinegar/sharp,"
            " butter/mild"
        ),
        "{v} tastes {w}",
    ),
    "land": Domain(
        _pairs(
            "desert/dry, jungle/humid, tundra/frozen, swamp/muddy, cave/dark, mountain/steep, meadow/grassy, river/wet, forest/shady, island/remote,"
            " beach/sandy, valley/sheltered"
        ),
        "a {v} is {w}",
    ),
    "profession": Domain(
        _pairs(
            "baker/bakery, doctor/hospital, teacher/school, judge/court, farmer/farm, pilot/airport, sailor/ship, actor/theatre, chemist/laboratory,"
            " monk/monastery, librarian/library, miner/mine, painter/studio, soldier/barracks"
        ),
        "a {v} works in a {w}",
    ),
    "instrument": Domain(
        _pairs(
            "violin/bowed, cello/bowed, viola/bowed, drum/struck, xylophone/struck, bell/struck, flute/blown, trumpet/blown, horn/blown, harp/plucked,"
            " guitar/plucked, lute/plucked"
        ),
        "a {v} is {w}",
    ),
    "symptom": Domain(
        _pairs(
            "fever/hot, chills/shivering, rash/itchy, cough/hoarse, dizziness/unsteady, fatigue/tired, nausea/queasy, thirst/dry, swelling/puffy,"
            " insomnia/sleepless"
        ),
        "{v} makes people {w}",
    ),
    "language": Domain(
        _pairs(
            "French/France, Greek/Greece, Dutch/Holland, Danish/Denmark, Polish/Poland, Turkish/Turkey, Swedish/Sweden, Hungarian/Hungary, Russian/Russia,"
            " Irish/Ireland, Persian/Persia, Chinese/China"
        ),
        "{v} comes from {w}",
    ),
    "sport": Domain(
        _pairs(
            "tennis/racket, football/ball, archery/bow, fencing/sword, cricket/bat, rowing/oar, golf/club, billiards/cue, hockey/stick, cycling/bicycle,"
            " sailing/boat, riding/horse"
        ),
        "{v} needs a {w}",
    ),
    "crop": Domain(
        _pairs(
            "wheat/bread, grapes/wine, olives/oil, barley/beer, flax/linen, cocoa/chocolate, milk/cheese, apples/cider, cane/sugar, tobacco/cigars,"
            " plums/jam, wood/paper"
        ),
        "{v} is made into {w}",
    ),
    "animal": Domain(
        _pairs(
            "lion/roar, dog/bark, owl/hoot, horse/neigh, wolf/howl, duck/quack, sheep/bleat, snake/hiss, bee/buzz, crow/caw, pig/grunt, frog/croak"
        ),
        "the sound of a {v} is a {w}",
    ),
    "purpose": Domain(
        _pairs(
            "payments/cashiers, maps/travellers, music/musicians, recipes/cooks, taxes/accountants, harvests/farmers, novels/writers, portraits/artists,"
            " stars/astronomers, voyages/captains, lessons/teachers, lawsuits/lawyers"
        ),
        "{v} are the work of {w}",
    ),
    "diet": Domain(_pairs("fish/, seeds/, insects/, grass/, fruit/, meat/, nectar/, roots/, eggs/, leaves/, snails/, berries/"), ""),
}

_BY = {
    "month": (("falls in the season of", "comes every year in"), ("In which season does {x} come?", "What is the season of {x}?")),
    "colour": (
        ("has the same colour as", "can be compared in colour to"),
        ("What has the same colour as {x}?", "What does {x} resemble in colour?"),
    ),
}


def _implied(domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    phrases, questions = _BY[domain]
    return tuple(f"{phrase} {{w}}" for phrase in phrases), questions


TYPES: dict[str, tuple[Attribute, ...]] = {
    "film": (
        Attribute(
            "genre",
            ("belongs to the genre of {v}", "is a work of {v}", "was sold to cinemas as a piece of {v}"),
            ("What is the genre of {x}?", "To which genre does {x} belong?"),
            ("strikes its audience as {w}", "is remembered by viewers as {w}"),
            ("How does {x} strike its audience?", "How do viewers remember {x}?"),
        ),
        Attribute(
            NAME,
            ("was directed by {v}", "was made by the director {v}", "is the work of {v}"),
            ("Who directed {x}?", "Who is the director of {x}?"),
        ),
        Attribute(
            "city",
            ("is set in {v}", "tells a story that takes place in {v}", "was filmed in the streets of {v}"),
            ("In which city is {x} set?", "Where does the story of {x} take place?"),
            ("shows the landscapes of the country of {w}", "has its story in the country of {w}"),
            ("In which country is {x} set?", "Which country does {x} show?"),
        ),
        Attribute(
            "month",
            ("was first shown in {v}", "had its premiere in {v}", "reached the cinemas in {v}"),
            ("When was {x} first shown?", "In which month did {x} have its premiere?"),
            *_implied("month"),
        ),
        Attribute(
            "instrument",
            ("has music written for the {v}", "opens with a solo on the {v}", "is accompanied by a {v}"),
            ("For which instrument was the music of {x} written?", "Which instrument accompanies {x}?"),
            ("is accompanied by an instrument that is {w}", "has music that has to be {w}"),
            ("How is the instrument of {x} played?", "In what way is the music of {x} played?"),
        ),
        Attribute(
            "profession",
            ("follows the life of a {v}", "has a hero who is a {v}", "tells of the troubles of a {v}"),
            ("What is the profession of the hero of {x}?", "Whose life does {x} follow?"),
            ("has a hero who works in a {w}", "plays mostly inside a {w}"),
            ("Where does the hero of {x} work?", "In what kind of building does {x} mostly play?"),
        ),
    ),
    "town": (
        Attribute(
            "language",
            ("has people who speak {v}", "has schools that teach in {v}", "has street signs written in {v}"),
            ("Which language is spoken in {x}?", "In which language do the schools of {x} teach?"),
            ("was settled by people from {w}", "keeps the customs of {w}"),
            ("From which country did the settlers of {x} come?", "The customs of which country does {x} keep?"),
        ),
        Attribute(
            "crop",
            ("lives by the trade in {v}", "is surrounded by stores of {v}", "has grown rich from {v}"),
            ("By which trade does {x} live?", "What has made {x} rich?"),
            ("is famous for its {w}", "sells to its visitors fine {w}"),
            ("For which product is {x} famous?", "What can visitors buy in {x}?"),
        ),
        Attribute(
            NAME,
            ("was founded by {v}", "has a statue of its founder {v}", "owes its beginning to {v}"),
            ("Who founded {x}?", "To whom does {x} owe its beginning?"),
        ),
        Attribute(
            "month",
            ("holds its fair in {v}", "has its market week in {v}", "draws most visitors in {v}"),
            ("When does {x} hold its fair?", "In which month is the market week of {x}?"),
            ("holds its fair during {w}", "is fullest during {w}"),
            ("In which season is the fair of {x}?", "In which season is {x} fullest?"),
        ),
        Attribute(
            "animal",
            ("has on its flag a {v}", "bears in its arms a {v}", "keeps as its emblem the {v}"),
            ("Which animal is on the flag of {x}?", "What is the emblem of {x}?"),
            ("has an emblem whose sound is a {w}", "greets its guests with a {w}"),
            ("What sound does the emblem of {x} make?", "With what sound does {x} greet its guests?"),
        ),
        Attribute(
            "land",
            ("was built beside a {v}", "lies at the edge of a {v}", "looks out over a {v}"),
            ("Beside what was {x} built?", "At the edge of what does {x} lie?"),
            ("has surroundings that are {w}", "is visited by people who like places that are {w}"),
            ("What are the surroundings of {x} like?", "What is the land around {x} like?"),
        ),
    ),
    "bird": (
        Attribute(
            "land",
            ("lives in the {v}", "builds its nest in the {v}", "is seldom seen outside the {v}"),
            ("Where does the bird {x} live?", "Where does {x} build its nest?"),
            ("prefers places that are {w}", "is found only where it is {w}"),
            ("What kind of place does {x} prefer?", "What are the places like where {x} is found?"),
        ),
        Attribute(
            "colour",
            ("has feathers that are {v}", "is covered in plumage of {v}", "can be told by its wings of {v}"),
            ("What colour are the feathers of {x}?", "Which colour is {x}?"),
            *_implied("colour"),
        ),
        Attribute(
            "diet",
            ("eats mainly {v}", "feeds its young on {v}", "spends the day looking for {v}"),
            ("What does {x} eat?", "On what does {x} feed its young?"),
        ),
        Attribute(
            "month",
            ("lays its eggs in {v}", "breeds in {v}", "sits on its nest in {v}"),
            ("When does {x} lay its eggs?", "In which month does {x} breed?"),
            ("lays its eggs during {w}", "has its young during {w}"),
            ("In which season does {x} lay its eggs?", "In which season does {x} have its young?"),
        ),
        Attribute(
            NAME,
            ("was discovered by {v}", "was first described by {v}", "was first painted by {v}"),
            ("Who discovered {x}?", "Who first described {x}?"),
        ),
        Attribute(
            "animal",
            ("is often mistaken for a {v}", "sounds very much like a {v}", "answers when it hears a {v}"),
            ("For which animal is {x} often mistaken?", "Like which animal does {x} sound?"),
            ("has a call that is a {w}", "wakes people with a {w}"),
            ("What is the call of {x}?", "With what sound does {x} wake people?"),
        ),
    ),
    "plant": (
        Attribute(
            "colour",
            ("has flowers that are {v}", "opens blossoms of {v}", "covers the ground with {v}"),
            ("What colour are the flowers of {x}?", "Of which colour are the blossoms of {x}?"),
            *_implied("colour"),
        ),
        Attribute(
            "month",
            ("blooms in {v}", "opens its flowers in {v}", "is picked in {v}"),
            ("When does {x} bloom?", "In which month is {x} picked?"),
            ("blooms during {w}", "is picked during {w}"),
            ("In which season does {x} bloom?", "In which season is {x} picked?"),
        ),
        Attribute(
            "land",
            ("grows in the {v}", "takes root only in a {v}", "is native to the {v}"),
            ("Where does {x} grow?", "To what kind of land is {x} native?"),
            ("thrives in soil that is {w}", "wants a place that is {w}"),
            ("In what kind of soil does {x} thrive?", "What kind of place does {x} want?"),
        ),
        Attribute(
            "ingredient",
            ("has leaves that taste of {v}", "leaves in the mouth a taste of {v}", "is used in kitchens instead of {v}"),
            ("What do the leaves of {x} taste of?", "Instead of what is {x} used in kitchens?"),
            ("gives to food a flavour that is {w}", "is chewed because it is {w}"),
            ("What flavour does {x} give to food?", "How do the leaves of {x} taste?"),
        ),
        Attribute(
            "organ",
            ("is good for the {v}", "has a juice that heals the {v}", "was once sold as a cure for the {v}"),
            ("For what is {x} good?", "What does the juice of {x} heal?"),
            ("is recommended by the {w}", "is of interest to every {w}"),
            ("Who recommends {x}?", "To which specialist is {x} of interest?"),
        ),
        Attribute(
            NAME, ("was named by {v}", "was brought home by {v}", "was first grown by {v}"), ("Who named {x}?", "Who first grew {x}?")
        ),
    ),
    "person": (
        Attribute(
            "profession",
            ("works as a {v}", "was trained as a {v}", "has always earned a living as a {v}"),
            ("What is the profession of {x}?", "As what was {x} trained?"),
            ("spends the working day in a {w}", "can be met in a {w}"),
            ("Where does {x} spend the working day?", "Where can {x} be met?"),
        ),
        Attribute(
            "city",
            ("was born in {v}", "grew up in {v}", "comes from a family of {v}"),
            ("Where was {x} born?", "In which city did {x} grow up?"),
            ("has a passport from {w}", "votes in the elections of {w}"),
            ("From which country is the passport of {x}?", "In the elections of which country does {x} vote?"),
        ),
        Attribute(
            NAME,
            ("studied under {v}", "was a pupil of {v}", "learnt everything from {v}"),
            ("Under whom did {x} study?", "Whose pupil was {x}?"),
        ),
        Attribute(
            "sport",
            ("is fond of {v}", "won a prize in {v}", "gives the weekends to {v}"),
            ("Of which sport is {x} fond?", "In which sport did {x} win a prize?"),
            ("never travels without a {w}", "keeps at home a {w}"),
            ("What does {x} never travel without?", "What does {x} keep at home?"),
        ),
        Attribute(
            "instrument",
            ("plays the {v}", "owns an old {v}", "gives concerts on the {v}"),
            ("Which instrument does {x} play?", "On which instrument does {x} give concerts?"),
            ("owns an instrument that is {w}", "makes music with something that is {w}"),
            ("How is the instrument of {x} played?", "In what way does {x} make music?"),
        ),
        Attribute(
            "month",
            ("was married in {v}", "keeps the wedding day in {v}", "said yes to a proposal in {v}"),
            ("When was {x} married?", "In which month does {x} keep the wedding day?"),
            ("was married during {w}", "had a wedding in {w}"),
            ("In which season was {x} married?", "In which season was the wedding of {x}?"),
        ),
    ),
    "company": (
        Attribute(
            NAME, ("was started by {v}", "is led by its founder {v}", "belongs to {v}"), ("Who started {x}?", "Who is the founder of {x}?")
        ),
        Attribute(
            "city",
            ("has its head office in {v}", "is based in {v}", "opened its first office in {v}"),
            ("In which city is the head office of {x}?", "Where is {x} based?"),
            ("pays its taxes in {w}", "is bound by the laws of {w}"),
            ("In which country does {x} pay its taxes?", "By the laws of which country is {x} bound?"),
        ),
        Attribute(
            "material",
            ("makes goods of {v}", "buys large amounts of {v}", "has a factory that works with {v}"),
            ("Of what does {x} make its goods?", "With what does the factory of {x} work?"),
            ("sells goods that are {w}", "handles things that are {w}"),
            ("What are the goods of {x} like?", "What are the things like that {x} handles?"),
        ),
        Attribute(
            "purpose",
            ("offers a program for {v}", "sells software for {v}", "became known through its help with {v}"),
            ("For what does {x} offer a program?", "With what does {x} help?"),
            ("has customers who are mostly {w}", "is praised by {w}"),
            ("Who are the customers of {x}?", "By whom is {x} praised?"),
        ),
        Attribute(
            "animal",
            ("has on its sign a {v}", "uses as its mark a {v}", "prints on every box a {v}"),
            ("Which animal is on the sign of {x}?", "What does {x} use as its mark?"),
            ("begins its advertisements with a {w}", "has a mark whose sound is a {w}"),
            ("With what sound do the advertisements of {x} begin?", "What sound does the mark of {x} make?"),
        ),
        Attribute(
            YEAR,
            ("was registered in {v}", "opened for business in {v}", "has existed since {v}"),
            ("In which year was {x} registered?", "Since when has {x} existed?"),
        ),
    ),
    "medicine": (
        Attribute(
            "organ",
            ("acts on the {v}", "is given for complaints of the {v}", "brings relief to the {v}"),
            ("On what does {x} act?", "For complaints of what is {x} given?"),
            ("is prescribed by the {w}", "has to be ordered by a {w}"),
            ("Who prescribes {x}?", "Which specialist has to order {x}?"),
        ),
        Attribute(
            "ingredient",
            ("tastes of {v}", "is mixed with {v}", "smells faintly of {v}"),
            ("What does {x} taste of?", "With what is {x} mixed?"),
            ("has a taste that is {w}", "is disliked for being {w}"),
            ("What is the taste of {x} like?", "For being what is {x} disliked?"),
        ),
        Attribute(
            NAME,
            ("was invented by {v}", "was first tested by {v}", "goes back to the research of {v}"),
            ("Who invented {x}?", "Who first tested {x}?"),
        ),
        Attribute(
            "colour",
            ("is sold in pills of {v}", "is packed in boxes of {v}", "dissolves in water to a shade of {v}"),
            ("What colour are the pills of {x}?", "Of which colour are the boxes of {x}?"),
            *_implied("colour"),
        ),
        Attribute(
            "symptom",
            ("may cause {v}", "has one side effect, namely {v}", "is stopped when it leads to {v}"),
            ("What may {x} cause?", "What is the side effect of {x}?"),
            ("may leave patients {w}", "is avoided by those who are already {w}"),
            ("How may {x} leave patients?", "In what state may {x} leave people?"),
        ),
        Attribute(
            "month",
            ("was approved in {v}", "reached the shops in {v}", "was licensed in {v}"),
            ("When was {x} approved?", "In which month did {x} reach the shops?"),
            ("was approved during {w}", "reached the shops during {w}"),
            ("In which season was {x} approved?", "In which season did {x} reach the shops?"),
        ),
    ),
    "festival": (
        Attribute(
            "month",
            ("takes place in {v}", "is celebrated in {v}", "begins on the first day of {v}"),
            ("When does {x} take place?", "In which month is {x} celebrated?"),
            ("is celebrated during {w}", "takes place during {w}"),
            ("In which season is {x} celebrated?", "In which season does {x} take place?"),
        ),
        Attribute(
            "city",
            ("is held in {v}", "fills the squares of {v}", "was first seen in {v}"),
            ("In which city is {x} held?", "The squares of which city does {x} fill?"),
            ("is a public holiday in {w}", "attracts travellers to the country of {w}"),
            ("In which country is {x} a public holiday?", "To which country does {x} attract travellers?"),
        ),
        Attribute(
            "crop",
            ("gives thanks for the {v}", "honours the harvest of {v}", "is paid for by the growers of {v}"),
            ("For what does {x} give thanks?", "Which harvest does {x} honour?"),
            ("ends with a gift of {w}", "offers to every guest some {w}"),
            ("With a gift of what does {x} end?", "What does {x} offer to every guest?"),
        ),
        Attribute(
            "instrument",
            ("is opened by a player of the {v}", "is led by a {v}", "would not be complete without the {v}"),
            ("A player of which instrument opens {x}?", "By which instrument is {x} led?"),
            ("opens with an instrument that is {w}", "has music on something that is {w}"),
            ("How is the opening instrument of {x} played?", "In what way is the music of {x} made?"),
        ),
        Attribute(
            NAME,
            ("was founded in memory of {v}", "is named in honour of {v}", "remembers the deeds of {v}"),
            ("In memory of whom was {x} founded?", "Whose deeds does {x} remember?"),
        ),
        Attribute(
            "colour",
            ("has dancers dressed in {v}", "hangs the streets with {v}", "asks its guests to wear {v}"),
            ("In which colour are the dancers of {x} dressed?", "Which colour do guests of {x} wear?"),
            *_implied("colour"),
        ),
    ),
    "dish": (
        Attribute(
            "ingredient",
            ("is flavoured with {v}", "is cooked with plenty of {v}", "would be nothing without {v}"),
            ("With what is {x} flavoured?", "With plenty of what is {x} cooked?"),
            ("tastes above all {w}", "is known on the tongue as {w}"),
            ("How does {x} taste?", "What is the flavour of {x} like?"),
        ),
        Attribute(
            "city",
            ("was first cooked in {v}", "comes from the kitchens of {v}", "is a speciality of {v}"),
            ("Where was {x} first cooked?", "From the kitchens of which city does {x} come?"),
            ("belongs to the cooking of {w}", "is a national dish of {w}"),
            ("To the cooking of which country does {x} belong?", "Of which country is {x} a national dish?"),
        ),
        Attribute(
            "month",
            ("is eaten in {v}", "is cooked for the feasts of {v}", "appears on menus in {v}"),
            ("When is {x} eaten?", "In which month does {x} appear on menus?"),
            ("is eaten during {w}", "warms the tables of {w}"),
            ("In which season is {x} eaten?", "In which season does {x} appear on menus?"),
        ),
        Attribute(
            "material",
            ("is served in a bowl of {v}", "has to be stirred in a pot of {v}", "is brought to the table on {v}"),
            ("Of what is the bowl of {x}?", "On what is {x} brought to the table?"),
            ("comes in a bowl that is {w}", "is served in something that is {w}"),
            ("What is the bowl of {x} like?", "What is the thing like in which {x} is served?"),
        ),
        Attribute(
            NAME,
            ("was invented by the cook {v}", "was first written down by {v}", "made the name of {v}"),
            ("Which cook invented {x}?", "Who first wrote down {x}?"),
        ),
        Attribute(
            "crop",
            ("is eaten by growers of {v}", "was the meal of those who harvested {v}", "goes with a product of {v}"),
            ("By growers of what is {x} eaten?", "With a product of what does {x} go?"),
            ("goes well with {w}", "is served together with {w}"),
            ("With what does {x} go well?", "Together with what is {x} served?"),
        ),
    ),
    "ship": (
        Attribute(
            "material",
            ("has a hull of {v}", "was built largely of {v}", "has doors made of {v}"),
            ("Of what is the hull of {x}?", "Of what was {x} largely built?"),
            ("has a hull that is {w}", "feels to the hand {w}"),
            ("What is the hull of {x} like?", "How does the hull of {x} feel?"),
        ),
        Attribute(
            NAME,
            ("is commanded by {v}", "sails under captain {v}", "was entrusted to {v}"),
            ("Who commands {x}?", "Under which captain does {x} sail?"),
        ),
        Attribute(
            "city",
            ("is registered in {v}", "was paid for by merchants of {v}", "carries the flag of {v}"),
            ("In which city is {x} registered?", "The merchants of which city paid for {x}?"),
            ("belongs to the fleet of {w}", "defends the coast of {w}"),
            ("To the fleet of which country does {x} belong?", "The coast of which country does {x} defend?"),
        ),
        Attribute(
            "crop",
            ("carries a cargo of {v}", "was designed to transport {v}", "is loaded with {v}"),
            ("What cargo does {x} carry?", "With what is {x} loaded?"),
            ("is awaited by makers of {w}", "supplies the makers of {w}"),
            ("By makers of what is {x} awaited?", "The makers of what does {x} supply?"),
        ),
        Attribute(
            "colour",
            ("has sails of {v}", "is painted {v}", "can be seen from afar by its {v}"),
            ("What colour are the sails of {x}?", "In which colour is {x} painted?"),
            *_implied("colour"),
        ),
        Attribute(
            YEAR,
            ("was launched in {v}", "made its first voyage in {v}", "left the yard in {v}"),
            ("In which year was {x} launched?", "When did {x} make its first voyage?"),
        ),
    ),
    "game": (
        Attribute(
            "sport",
            ("grew out of {v}", "is a form of {v}", "borrows its rules from {v}"),
            ("Out of which sport did {x} grow?", "From which sport does {x} borrow its rules?"),
            ("cannot be played without a {w}", "asks each player to bring a {w}"),
            ("What is needed to play {x}?", "What does each player of {x} bring?"),
        ),
        Attribute(
            "land",
            ("is played in a {v}", "needs the ground of a {v}", "has its finals in a {v}"),
            ("Where is {x} played?", "The ground of what does {x} need?"),
            ("is played on ground that is {w}", "takes its players to places that are {w}"),
            ("What is the ground like on which {x} is played?", "To what kind of places does {x} take its players?"),
        ),
        Attribute(
            NAME,
            ("was thought up by {v}", "owes its rules to {v}", "was made popular by {v}"),
            ("Who thought up {x}?", "To whom does {x} owe its rules?"),
        ),
        Attribute(
            "month",
            ("has its season in {v}", "crowns its champion in {v}", "holds its finals in {v}"),
            ("When does {x} have its finals?", "In which month does {x} crown its champion?"),
            ("crowns its champion during {w}", "is watched mostly in {w}"),
            ("In which season does {x} crown its champion?", "In which season is {x} mostly watched?"),
        ),
        Attribute(
            "material",
            ("gives a prize of {v}", "rewards the winner with {v}", "has a cup made of {v}"),
            ("Of what is the prize of {x}?", "With what does {x} reward the winner?"),
            ("has a prize that is {w}", "ends with something that is {w}"),
            ("What is the prize of {x} like?", "What is the reward of {x} like?"),
        ),
        Attribute(
            "animal",
            ("is named after the {v}", "starts when somebody imitates a {v}", "allows each team to keep a {v}"),
            ("After which animal is {x} named?", "Which animal is imitated at the start of {x}?"),
            ("starts with a {w}", "is announced by a {w}"),
            ("With what sound does {x} start?", "By what sound is {x} announced?"),
        ),
    ),
}
