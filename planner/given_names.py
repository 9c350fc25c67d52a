"""Given names that are mostly given to girls or to boys: "Lina meets Bo. He waves." speaks of Bo."""

_SHE = frozenset(
    "ada alice alma amelia amy ana anna anne annie astrid ava bella beth betty bianca carla carmen celia charlotte "
    "chloe clara claire daisy dana diana dora edith elena eliza ella ellen elsa elsie emily emma esther eva eve fiona "
    "flora frida frieda gina gloria grace greta hana hanna hannah hazel heidi helen helena ida ines ingrid irene iris "
    "isabel isla ivy jane janet jasmine jenny jess jill joan josie julia juliet june kate katie kira lara laura lea "
    "leah lena lila lily lina linda lisa lola lotte lottie louise lucia lucy luna lydia mabel maja mara maria marie "
    "martha mary matilda maya megan mia mila millie mimi mina mira molly nadia nana nancy naomi nell nelly nina nora "
    "olga olive olivia paula pearl penny petra pia polly rachel rita rosa rose rosie ruby ruth sally sandra sara sarah "
    "selma sofia sonia sophia sophie stella susan sylvia tara tess tilda tilly tina uma ursula vera victoria viola "
    "wanda wendy willa yara yasmin zara zelda zoe zoey".split()
)
_HE = frozenset(
    "adam albert alfie alfred amir andrew anton arthur axel barney basil ben benji benny bert bill billy bo bob bobby "
    "boris bruno carl carlos cedric charles charlie colin conrad dan daniel david dennis diego dieter duke eddie edgar "
    "edward eli elias emil eric erik ernie ethan ezra felix fergus finn francis frank fred freddie fritz gabriel gary "
    "george gilbert gordon gregor gus gustav hank hans harold harry hector henrik henry hugo ian igor isaac ivan "
    "jack jacob jake james jan jasper jim jimmy joe joel johan john johnny jonas jonathan joseph josh juan kai karl "
    "kasper ken kevin klaus konrad lars larry lenny leo leon leonard liam linus louis luca lucas luis luke magnus "
    "marco mario mark martin matt matteo max michael miguel mike miles milo mo nathan ned neil nico nils noah "
    "norman olaf oleg oliver ollie omar oscar otis otto owen pablo patrick paul pedro percy peter phil pierre ralph "
    "raphael ray rex rico robert robin rocky roger rolf roman ron rory roy rudy rufus sammy samuel sebastian sergio "
    "simon stan stefan steve sven ted teddy theo thomas tim timmy tobias toby tom tommy tony victor viktor vincent "
    "walter wilbur will william willy winston wolfgang xavier yusuf zack".split()
)
TITLES = {"mr": "he", "sir": "he", "king": "he", "uncle": "he", "mrs": "she", "ms": "she", "queen": "she"}
TITLES |= {"lady": "she", "aunt": "she"}


def usual_gender(name: str) -> str | None:
    """ "she" or "he", None for a name that is in neither list."""
    first = name.lower().split()[0]
    if first in TITLES:
        return TITLES[first]
    return "she" if first in _SHE else "he" if first in _HE else None
