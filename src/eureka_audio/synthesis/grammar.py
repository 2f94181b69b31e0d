"""A small grammar of everyday English: short, simple sentences made of common words, and digits.

The sentences need not be wise; they need to be grammatical, varied and sayable, so that a
recogniser meets common words in many neighbourhoods.
"""

import random
import re

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TEMPLATES = """
we call it {animal}
i {like} {plural}
{name} {likes} {plural}
the {adj} {animal} is {place}
there is a {adj} {thing} {place}
there are {num} {plural} {place}
do you {like} the {adj} {thing}
where is my {thing}
this is my {family}
my {family} {did} {place}
{name} {did} {time}
i will {do} {time}
we are going to {do}
can you {do} {time}
she said she wanted to {do}
he told me about the {thing}
it is {adj} {time}
what do you think of the {thing}
i don't want to {do} {time}
they didn't {do} because it was {adj}
please {do}
let's {do} {time}
{name} and {name} are {place}
the {thing} is {adj} and {adj}
i have {num} {plural} and a {thing}
how many {plural} do you have
who took the {color} {thing}
my {thing} is {color}
he is {adj} but she is {adj}
you're a {adj} {person}
the {person} is very {adj}
i think it's time to {do}
she has been a {person} for {num} years
when i was young i wanted to be a {person}
if you {do} i will {do}
we {did} and then we {did}
it was a {adj} {thing}
why are you so {adj}
i can't find the {thing} {place}
{name} is {age} years old
give me the {thing} please
he {did} without saying a word
that's a lot more {adj}
i'm {adj} about the {thing}
yes that is right
the {person} {did} {time}
have you ever seen a {adj} {animal}
nobody knows where the {thing} is
it takes {age} minutes to {do}
what did the {person} say about the {thing}
i would like some {food}
{name} eats {food} {time}
we had {food} and {food} for {meal}
the {food} tastes {adj}
open the {thing}
on {day} we {did}
in {month} it gets {adj}
my {family} lives {place}
{name} asked me to {do}
she put the {thing} {place}
look at that {adj} {thing}
they're {adj} {plural}
i've never {done} before
he has {done} many times
there was no {thing} {place}
it's not a {thing} it's a {animal}
what time do you {do}
don't {do} {place}
the {animal} and the {animal} {did}
a {person} came to {do}
some of the {plural} are {adj}
all the {plural} were {color}
her {thing} was {adj} than mine was {adj}
this {thing} costs {age} dollars
i feel {adj} today
thank you for the {adj} {thing}
the {color} {thing} belongs to my {family}
it started to {weather} {time}
when it {weathers} we stay {place}
{num} {num} {num} {num}
turn {direction} at the {building}
the {building} is next to the {building}
excuse me where is the {building}
we went to the {building} by {vehicle}
the {vehicle} was late {time}
{name} wants to {do} with {name}
so enjoy and tell me what you {think}
that was all i {thought}
could i {do} here
is this your {thing} or mine
i must {do} before {meal}
every {day} i {do}
the {family} of {name} is a {person}
you should {do} more
i know what you {think}
both {plural} are {adj}
""".strip().splitlines()

# Slot -> words that fill it; "_" joins what is said as one.
WORDS = {
    "animal": (
        "bear dog cat horse cow sheep pig duck chicken rabbit tiger lion monkey elephant fox wolf "
        "bird fish mouse frog snake turtle bee goat deer panda kangaroo dolphin whale shark eagle "
        "owl penguin zebra giraffe camel lamb puppy kitten"
    ),
    "like": "like love hate need want remember miss see know",
    "likes": "likes loves hates needs wants remembers misses",
    "plural": (
        "apples books cars games songs flowers stories pictures friends birds dogs toys shoes "
        "letters cookies eggs trees stars movies boxes cups chairs windows questions children "
        "teachers photos numbers animals computers phones clothes hats keys rivers mountains "
        "islands oranges grapes vegetables noodles potatoes french_fries lessons plans"
    ),
    "name": (
        "peter mary tom lucy david anna jack lily mike susan john kate ben emma sam jane bob "
        "alice george rose teddy tina henry grace leo amy paul sarah james nancy frank helen "
        "kevin linda tony betty simon julia andy wendy mr_smith miss_brown mr_green mrs_white"
    ),
    "adj": (
        "big small happy sad old young new good bad nice beautiful cold warm hot hungry tired "
        "quiet loud fast slow heavy light dark bright clean dirty busy easy hard kind clever "
        "funny strange dangerous important famous expensive cheap empty full rich poor strong "
        "weak angry afraid ready late early sweet sour fresh dry wet soft smooth thick thin long "
        "short high low deep wide narrow lonely proud serious special useful wonderful terrible "
        "perfect dynamic popular healthy sick thirsty careful lazy brave shy polite modern "
        "ancient simple complicated interesting boring different"
    ),
    "thing": (
        "book box door window table chair bag phone computer letter picture car bike ball kite "
        "cup glass bottle lamp clock watch key hat coat shirt dress umbrella camera radio piano "
        "guitar song story movie game map ticket plan idea question answer problem job house room "
        "garden river bridge road tree flower mountain island boat plane train kitchen bed desk "
        "pen pencil ruler dictionary newspaper birthday party present machine engine program "
        "system market law team company country city village world sky moon sun star cloud wind "
        "storm fire field wall floor roof report project meeting mirror knife spoon plate basket "
        "blanket pillow candle coin wallet ring"
    ),
    "place": (
        "in_the_garden at_school at_home in_the_kitchen on_the_table under_the_bed by_the_river "
        "in_the_park on_the_beach in_the_city at_the_station near_the_window behind_the_door "
        "in_the_box across_the_street in_china in_beijing in_america in_the_house on_the_roof "
        "in_the_forest outside here over_there upstairs at_the_office next_to_the_bank "
        "on_the_farm in_the_classroom at_the_zoo in_the_water on_the_hill inside in_the_dark "
        "in_london in_front_of_the_house between_the_trees"
    ),
    "num": (
        "two three four five six seven eight nine ten eleven twelve two three four five six seven "
        "eight nine"
    ),
    "age": (
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
        "ninety one_hundred twenty_one thirty_five forty_two fifty_six sixty_four seventy_eight "
        "eighty_three ninety_nine twenty_seven"
    ),
    "family": (
        "mother father sister brother grandmother grandfather uncle aunt cousin son daughter "
        "friend family wife husband neighbor teacher baby"
    ),
    "did": (
        "went_home stayed ran_away played_football sang_a_song danced_all_night read_a_book "
        "cooked_dinner fell_asleep watched_television worked_hard laughed cried "
        "waited_for_an_hour wrote_a_letter took_a_picture bought_a_car swam_in_the_lake "
        "told_a_story lost_the_game won_the_game drew_a_tiger made_a_cake turned_and_faced_him "
        "closed_the_door looked_out_of_the_window went_shopping gave_up found_the_key "
        "smiled_and_walked_away drove_to_work missed_the_bus caught_a_fish forgot_the_time "
        "kept_the_secret built_a_house broke_the_window rode_a_horse flew_a_kite"
    ),
    "do": (
        "go_home play_football sing_a_song dance read_a_book cook_dinner sleep watch_television "
        "work wait write_a_letter take_a_picture buy_some_milk swim tell_a_story draw_a_picture "
        "make_a_cake close_the_door go_shopping help_me learn_english speak_chinese "
        "visit_my_friend drink_some_water clean_the_room call_your_mother wash_the_dishes "
        "turn_off_the_light listen_to_music do_my_homework get_up_early have_lunch ride_a_bike "
        "come_back_soon change_the_world ask_a_question answer_the_phone leave start_again "
        "try_harder sit_down stand_up rest move_the_chair pay_the_bill catch_the_train "
        "fix_the_car feed_the_cat plant_a_tree climb_the_mountain travel_around_the_world "
        "save_money"
    ),
    "done": (
        "been_to_france seen_the_sea eaten_there heard_that_song read_this_book played_chess "
        "driven_a_truck met_the_president seen_snow won_a_prize tried_it thought_about_it "
        "flown_alone"
    ),
    "time": (
        "today tomorrow yesterday this_morning last_night every_day at_night in_the_afternoon "
        "on_sunday next_week last_year now later all_day again this_evening before_breakfast "
        "after_school at_six_o'clock in_the_summer this_weekend for_a_long_time at_the_same_time "
        "once_a_month right_now an_hour_ago two_days_ago soon"
    ),
    "color": "red blue green yellow black white brown gray orange purple pink golden silver",
    "person": (
        "doctor teacher student man woman boy girl farmer driver nurse singer writer policeman "
        "cook king queen soldier reporter lawyer player worker manager scientist engineer dancer "
        "painter child baby guest stranger leader citizen captain pilot waiter"
    ),
    "food": (
        "rice bread meat fish cake soup milk tea coffee juice chicken noodles fruit salad cheese "
        "ice_cream chocolate pizza beef pork tofu dumplings eggs apple_pie honey butter corn "
        "beans"
    ),
    "meal": "breakfast lunch dinner supper",
    "day": "monday tuesday wednesday thursday friday saturday sunday",
    "month": (
        "january february march april may june july august september october november december"
    ),
    "weather": "rain snow",
    "weathers": "rains snows",
    "direction": "left right",
    "building": (
        "bank school hospital library station hotel museum church restaurant supermarket "
        "post_office airport bookstore cinema theater zoo bakery police_station"
    ),
    "vehicle": "bus train car taxi plane ship subway boat truck",
    "think": "have_learned_so_far think know want mean saw heard did_last_summer said",
    "thought": "was_going_to_say_about_it could_do wanted_to_know needed heard remember",
}
_CHOICES = {slot: [w.replace("_", " ") for w in words.split()] for slot, words in WORDS.items()}


def everyday_sentence(rng: random.Random) -> str:
    """One short sentence of common words.

    Example:
        >>> everyday_sentence(random.Random(1))  # doctest: +ELLIPSIS
        '...'
    """
    template = rng.choice(TEMPLATES)
    sentence = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(_CHOICES[slot[1]]), template)
    return re.sub(r"\ba (?=[aeio]|ugly|uncle|umbrella)(?!one\b)", "an ", sentence)


def digit_string(rng: random.Random) -> str:
    """Two to seven digits, most often four, each said as a word."""
    length = rng.choice((2, 3, 3, 4, 4, 4, 4, 5, 5, 6, 7))
    return " ".join(rng.choice(DIGITS) for _ in range(length))
